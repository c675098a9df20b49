"""Tags that the configuration names: checked before anything starts."""

import pytest

from embedwell.config.schema import Cache, Config, Engine
from embedwell.errors import ConfigurationError
from embedwell.interfaces.models import ModelRef
from embedwell.models.aliases import settle


def test_tags_are_taken_apart() -> None:
    settled = settle(
        Config(
            aliases={"small": "upload:mine@abc"},
            engine=Engine(preload=("owner/name",)),
            cache=Cache(pinned=("small",)),
        )
    )
    assert settled.aliases == {"small": ModelRef("mine", "abc", "upload")}
    assert settled.preload == (ModelRef("owner/name"),)
    assert settled.pinned == (ModelRef("small"),)


def test_every_tag_that_is_none_is_named() -> None:
    config = Config(
        aliases={"a b": "c", "x": "../y", "z@1": "c", "chain": "x"},
        engine=Engine(preload=("", "ok")),
        cache=Cache(pinned=("p/q/r",)),
    )
    with pytest.raises(ConfigurationError) as error:
        settle(config)
    reasons = "\n".join(error.value.reasons)
    for path in ('aliases."a b"', 'aliases."x"', 'aliases."z@1"', "engine.preload", "cache.pinned"):
        assert path in reasons
    assert "chain" in reasons
    assert "is an alias itself" in reasons
    assert len(error.value.reasons) == 6
