"""The examples in the hooks' docstrings are plugins that load."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from embedwell.config.schema import Config
from embedwell.interfaces.hooks import Hooks
from embedwell.loader.load import load


@pytest.mark.parametrize("hook", ["register_sources", "register_caches", "register_plugins"])
def test_the_example_is_a_plugin(hook: str) -> None:
    text = inspect.getdoc(getattr(Hooks, hook)) or ""
    namespace: dict[str, Any] = {}
    exec(text.partition("\n")[2], namespace)
    plugin = SimpleNamespace(__name__="example", **{hook: namespace[hook]})
    (info,) = [i for i in load(Config(), modules=[plugin]).infos if i.name == "example"]
    assert info.state in ("active", "unused")
    assert len(info.provides) == 1
