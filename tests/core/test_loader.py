"""Plugins: what is taken, what is refused, and what is said about it."""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Struct, structs

from embedwell import BlockingSource, CacheSpec, SourceSpec, hookimpl
from embedwell.config.schema import Cache, Config, Sources
from embedwell.errors import ConfigurationError, PluginError
from embedwell.loader.building import build
from embedwell.loader.load import load
from embedwell.loader.origins import Origin
from embedwell.loader.plugins import Plugins


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 1


def source(name: str, priority: int = 10) -> SourceSpec[Any]:
    return SourceSpec(
        name=name, summary="x", priority=priority, config=Nothing, build=BlockingSource
    )


def module(hook: str, function: Callable[[], Any], name: str = "given") -> object:
    return SimpleNamespace(__name__=name, **{hook: hookimpl(function)})


def given(*specs: SourceSpec[Any], name: str = "given") -> object:
    return module("register_sources", lambda: list(specs), name)


def test_the_installed_ones_are_found() -> None:
    plugins = load(Config())
    chain = [item.spec.name for item in plugins.source_chain([])]
    assert chain == ["upload", "training", "github", "package", "huggingface"]
    assert plugins.strategy("fixed_size").origin.distribution == "embedwell-cache-fixed"
    assert plugins.strategy("vram_aware").origin.distribution == "embedwell-cache-vram"
    states = {info.name: info.state for info in plugins.infos}
    assert states.pop("vram_aware") == "unused"
    assert states.pop("auth") == "unused"
    assert set(states.values()) == {"active"}


def test_order_then_priority_then_name() -> None:
    plugins = load(Config(), modules=[given(source("b", 120), source("a", 120), source("z", 1))])
    names = [item.spec.name for item in plugins.source_chain(["z"])]
    assert names == ["z", "upload", "training", "github", "package", "a", "b", "huggingface"]
    with pytest.raises(ConfigurationError, match=r"sources.order: .nope"):
        plugins.source_chain(["nope"])


def test_configuration_reaches_the_spec_and_its_faults_are_told() -> None:
    tables: dict[str, dict[str, Any]] = {"a": {"size": 5}, "nope": {}}
    config = Config(sources=Sources(tables=tables))
    with pytest.raises(ConfigurationError) as caught:
        load(config, modules=[given(source("a"))])
    assert caught.value.reasons == (
        "sources.nope: no such source is installed; "
        "installed: a, github, huggingface, package, training, upload",
    )
    tables["a"] = {"size": "x", "colour": 1}
    with pytest.raises(ConfigurationError) as caught:
        load(config, modules=[given(source("a"))])
    assert len(caught.value.reasons) == 3


async def _async() -> list[Any]:
    return []


async def _asyncgen() -> AsyncIterator[Any]:
    yield 1


def _boom() -> Sequence[Any]:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (module("register_sources", _async), "is async"),
        (module("register_sources", _asyncgen), "is async"),
        (module("register_sources", _boom), "boom"),
        (module("register_sources", lambda: "junk"), "return a list of specs"),
        (module("register_sources", lambda: ["junk"]), "not a SourceSpec"),
        (module("register_nonsense", lambda: []), "unknown hook"),
        (module("register_sources", lambda: sys.exit(3)), "SystemExit"),
        (type("AClass", (), {}), "it is a class"),
        (
            SimpleNamespace(__name__="w", register_sources=hookimpl(wrapper=True)(lambda: (yield))),
            "is a wrapper",
        ),
    ],
)
def test_a_broken_one_is_skipped_and_shown(plugin: object, reason: str) -> None:
    plugins = load(Config(), modules=[plugin, given(source("good"), name="other")])
    (failed,) = [info for info in plugins.infos if info.state == "failed"]
    assert reason in (failed.problem or "")
    assert "good" in [item.spec.name for item in plugins.sources]


def test_unless_the_configuration_names_it() -> None:
    broken = module("register_sources", _boom, "mine")
    for config in (
        Config(sources=Sources(tables={"mine": {}})),
        Config(sources=Sources(order=("mine",))),
        Config(cache=Cache(strategy="mine")),
    ):
        with pytest.raises(PluginError, match=r"mine.*RuntimeError: boom.*pip install -U mine"):
            load(config, modules=[broken])


def test_two_of_one_name_are_refused_naming_both() -> None:
    twins = [given(source("twin"), name="one"), given(source("twin"), name="two")]
    with pytest.raises(PluginError, match=r'sources are named "twin": one given and two given'):
        load(Config(), modules=twins)


def test_two_distributions_with_one_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("aaa", "bbb"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[embedwell]\ntwin = json\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=r'named "twin": aaa 1.0 and bbb 1.0'):
        load(Config())


def test_an_entry_point_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "ccc-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ccc\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[embedwell]\nmissing = no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (failed,) = [i for i in load(Config()).infos if i.state == "failed"]
    assert failed.distribution == "ccc"
    assert "no_such_module" in (failed.problem or "")


def test_a_strategy_that_is_not_installed() -> None:
    with pytest.raises(ConfigurationError, match="installed: fixed_size, vram_aware"):
        load(Config()).strategy("nope")


def test_a_build_that_fails_names_its_distribution() -> None:
    with pytest.raises(PluginError, match=r"source x \(dist 1\) failed to start: ZeroDivision"):
        build("source x", Origin("x", "dist", "1"), lambda: 1 / 0)


def test_two_apps_share_nothing() -> None:
    plugin = given(source("a"))
    first, second = (load(Config(), modules=[plugin]) for _ in range(2))
    assert first.sources is not second.sources


def test_caches_are_specs_too() -> None:
    class Keep:
        def __init__(self, config: Nothing) -> None: ...

    spec: Any = CacheSpec(name="keep", summary="x", config=Nothing, build=Keep)  # type: ignore[arg-type]
    plugins = load(Config(), modules=[module("register_caches", lambda: [spec])])
    assert plugins.strategy("keep").spec is spec
    assert [i.state for i in plugins.infos if i.name == "given"] == ["unused"]


class Needs(Struct, frozen=True, forbid_unknown_fields=True):
    bucket: str


class Wants(Struct, frozen=True, forbid_unknown_fields=True):
    bucket: str = ""

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError("bucket: empty")


class Loose(Struct, frozen=True):
    x: int = 1


def odd(**changes: Any) -> object:
    return given(structs.replace(source("odd"), **changes))


def test_one_merely_installed_that_needs_a_table_keeps_nobody_from_starting() -> None:
    plugin = odd(config=Needs)
    plugins = load(Config(), modules=[plugin])
    assert "odd" not in [item.spec.name for item in plugins.sources]
    (info,) = [info for info in plugins.infos if info.name == "given"]
    assert info.state == "unused"
    assert info.problem == "off: no sources.odd.bucket in the configuration"
    (info,) = load(Config(), modules=[odd(config=Wants)]).infos[-1:]
    assert info.problem == "source odd is not configured: sources.odd.bucket: empty"
    for named in (Sources(order=("odd",)), Sources(tables={"odd": {}})):
        with pytest.raises(ConfigurationError, match=r"sources.odd.bucket: required"):
            load(Config(sources=named), modules=[plugin])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": None}, "cannot be a name"),
        ({"name": "a.b"}, "cannot be a name"),
        ({"name": "order"}, "is a setting already"),
        ({"config": None}, "must be a Struct class"),
        ({"config": Loose}, "forbid_unknown_fields"),
        ({"build": None}, "must be callable"),
        ({"priority": "high"}, "must be an integer"),
    ],
)
def test_a_spec_that_could_not_work_is_a_failed_plugin(
    changes: dict[str, Any], reason: str
) -> None:
    plugins = load(Config(), modules=[odd(**changes)])
    (failed,) = [info for info in plugins.infos if info.state == "failed"]
    assert reason in (failed.problem or "")


def test_a_missing_name_points_at_the_plugin_that_failed() -> None:
    broken = module("register_sources", _boom, "my-source")
    config = Config(sources=Sources(tables={"folder": {}}))
    with pytest.raises(ConfigurationError, match=r"my-source \(my-source\): RuntimeError: boom"):
        load(config, modules=[broken])


class Panic(BaseException):
    """As extension modules raise it."""


def _panic() -> Any:
    raise Panic("native")


def test_a_panic_is_a_failure_like_any_other() -> None:
    infos = load(Config(), modules=[module("register_sources", _panic)]).infos
    assert "Panic: native" in [info.problem for info in infos]
    with pytest.raises(PluginError, match=r"x \(dist 1\) failed to start: Panic: native"):
        build("x", Origin("x", "dist", "1"), _panic)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("vram", 'did you mean "vram_aware"'),
        ("fixed-size", 'did you mean "fixed_size"'),
        ("lru", "installed: fixed_size, vram_aware"),
    ],
)
def test_a_strategy_that_is_not_there_is_not_looked_for_in_the_package_index(
    name: str, remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        load(Config(cache=Cache(strategy=name)))
    assert "pip install" not in str(caught.value)


def test_what_is_ours_and_not_installed_is_named() -> None:
    plugins = Plugins((), (), (), ())
    with pytest.raises(ConfigurationError, match="pip install embedwell-cache-vram"):
        plugins.strategy("vram_aware")
    with pytest.raises(ConfigurationError, match="pip install embedwell-source-github"):
        plugins.source_chain(["github"])


def test_what_is_left_out_for_want_of_a_table_is_installed_all_the_same() -> None:
    with pytest.raises(ConfigurationError, match=r'plugins\.auht: .*did you mean "auth"') as caught:
        load(Config(plugins={"auht": {"keys": {}}, "unlike": {}}))
    assert "installed: auth, metrics" in str(caught.value)
