"""What `[plugins.metrics]` may say."""

from typing import Annotated

from msgspec import Meta, Struct

Labels = Annotated[int, Meta(ge=1, le=10_000)]


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[plugins.metrics]`: how many models and callers have series of their own."""

    max_models: Labels = 200
    max_callers: Labels = 200
