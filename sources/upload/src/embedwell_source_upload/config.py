"""The configuration."""

from typing import Annotated

from msgspec import Meta, Struct


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sources.upload]`; a GB has 10^9 bytes, a kB 10^3; a rate is a second's, 0 is none."""

    max_size_gb: Annotated[float, Meta(gt=0, le=100_000)] = 50
    max_concurrent: Annotated[int, Meta(ge=1, le=64)] = 4
    min_rate_kb: Annotated[float, Meta(ge=0, le=1_000_000)] = 64
    deadline_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 3_600
