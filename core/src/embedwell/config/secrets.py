"""Secrets by reference: `{ env = "NAME" }`; the value is read only where it is used."""

import os

from msgspec import Struct


class Secret(Struct, frozen=True, forbid_unknown_fields=True):
    """The name of an environment variable that holds a secret."""

    env: str

    def reveal(self) -> str | None:
        """The value, or None where the variable is unset or empty."""
        return os.environ.get(self.env) or None
