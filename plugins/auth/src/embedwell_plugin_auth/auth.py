"""The plugin: asks each request for a key, and charges it."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedwell import (
    Caller,
    Embedded,
    Event,
    Forbidden,
    Plugin,
    RequestHead,
    Services,
    Unauthorized,
)
from embedwell_plugin_auth import references
from embedwell_plugin_auth.config import Config
from embedwell_plugin_auth.keyring import KeyRing, presented
from embedwell_plugin_auth.quotas import Quota
from embedwell_plugin_auth.strangers import Strangers

log = logging.getLogger("embedwell.auth")
# What was computed is paid for, or whoever hangs up, or sets a short deadline, would pay nothing.
CHARGED = ("ok", "cancelled", "TIMEOUT", "MODEL_ERROR")


class Auth(Plugin):
    """Lets pass who shows a key with the scope that a route asks for.

    Raises Invalid, at the start, for keys that cannot be read or are easily guessed.
    """

    config: Config

    def __init__(self, config: Config, services: Services) -> None:
        super().__init__(config, services)
        self._ring = KeyRing(references.resolve(config.keys, os.environ))
        now = services.clock()
        self._quotas = {name: Quota(name, key, now) for name, key in config.keys.items()}
        self.strangers = Strangers(services.clock)

    async def guard(self, head: RequestHead) -> Caller | None:
        """Raises Unauthorized, Forbidden, RateLimited; never says whether a key exists."""
        if head.access == "public":
            return None
        name = self._owner(head)
        scopes = self.config.keys[name].scopes
        if head.access not in scopes:
            raise Forbidden(
                f'The key "{name}" lacks the scope "{head.access}": '
                f"add it to scopes of [plugins.auth.keys.{name}]",
                caller=name,
            )
        embeds = head.access == "embed" and head.method == "POST"
        self._quotas[name].admit(self.services.clock(), embeds=embeds)
        return Caller(name, frozenset(scopes))

    def _owner(self, head: RequestHead) -> str:
        shown = presented(head.headers)
        name = self._ring.owner(*shown) if len(shown) == 1 else None
        if name is None:
            self.strangers.refused(head.client)
            raise Unauthorized(
                "The API key is not valid"
                if shown
                else "An API key is missing: send the header Authorization: Bearer KEY"
            )
        return name

    def observe(self, event: Event) -> None:
        """Tokens are paid for when an embedding call has ended."""
        if isinstance(event, Embedded) and event.outcome in CHARGED:
            quota = self._quotas.get(event.caller or "")
            if quota is not None:
                quota.charge(event.tokens, self.services.clock())

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Says whose keys are taken."""
        keys = [f"{name} ({', '.join(key.scopes)})" for name, key in self.config.keys.items()]
        log.info("keys are asked for: %s", "; ".join(keys))
        yield
        self.strangers.tell()
