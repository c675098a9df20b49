"""Every fault of a configuration, all at once, each with its path."""

from pathlib import Path

import pytest
from msgspec import Struct

from embedwell.config.durations import seconds
from embedwell.config.load import load
from embedwell.config.schema import Config
from embedwell.config.tables import convert_table
from embedwell.errors import ConfigurationError

ROOT = Path(__file__).parents[3]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def reasons(path: Path | None, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environment or {}, {})
    return list(caught.value.reasons)


def test_nothing_said_is_the_defaults() -> None:
    assert load(None, {}, {}) == Config()


def test_file_then_environment_then_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = 1\ndata_dir = 'a'\ngrace_seconds = 7\n")
    environment = {"EMBEDWELL_SERVER__PORT": "2", "EMBEDWELL_SERVER__DATA_DIR": "b"}
    server = load(path, environment, {"server.port": 3}).server
    assert (server.port, server.data_dir, server.grace_seconds) == (3, "b", 7)


def test_the_guides_variables() -> None:
    environment = {
        "INFERENCE_DEVICE": "cpu",
        "CACHE_STRATEGY": "vram_aware",
        "CACHE_MAX_MODELS": "3",
        "CACHE_VRAM_SAFETY_MARGIN_GB": "1.5",
    }
    config = load(None, environment, {})
    assert config.engine.device == "cpu"
    assert config.cache.strategy == "vram_aware"
    assert config.cache.tables == {"fixed_size": {"max_models": "3"}}
    assert config.cache.safety_margin_gb == 1.5


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = """
    colour = 1
    [server]
    prot = 1
    port = 99999
    request_timeout = inf
    [engine]
    device = "tpu"
    threads = -1
    [batching]
    max_inputs = "many"
    [cache]
    safety_margin_gb = nan
    [sources]
    on_source_error = "panic"
    """
    found = "\n".join(reasons(write(tmp_path, text), {"EMBEDWELL_NOPE__PORT": "1"}))
    for expected in (
        "EMBEDWELL_NOPE__PORT: not a setting",
        "colour: unknown key",
        'server.prot: unknown key; did you mean "port"?',
        "server.port: expected int <= 65535, got 99999",
        "server.request_timeout: expected",
        "engine.device: ",
        "engine.threads: expected int >= 0, got -1",
        "batching.max_inputs: expected int, got 'many'",
        "cache.safety_margin_gb: ",
        "sources.on_source_error: expected stop or skip, got 'panic'",
    ):
        assert expected in found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[server", "not TOML"),
        ("server = 3", "server: expected a table"),
        ("plugins = 1", "plugins: "),
        ("[cache]\ntables = 3", "cache.tables: unknown key"),
        ("a = " + "[" * 20_000, "nested too deep"),
        ("[server]\nport = " + "1" * 5_000, "not TOML"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, reason: str) -> None:
    assert any(reason in found for found in reasons(write(tmp_path, text)))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in reasons(tmp_path)[0]
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in reasons(tmp_path / "x")[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMBEDWELL_SERVER__PORT", "no"),
        ("EMBEDWELL_SERVER__PORT", "[" * 20_000),
        ("EMBEDWELL_SERVER__PORT", "1" * 5_000),
        ("EMBEDWELL_NOPE__PORT", "1"),
        ("EMBEDWELL_SERVER__NOPE", "1"),
    ],
)
def test_a_wrong_variable(name: str, value: str) -> None:
    assert reasons(None, {name: value})


def test_an_unknown_key_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    (reason,) = reasons(write(tmp_path, "[cache]\nload_deadline_seconds = 5\n"))
    assert reason.startswith("cache.load_deadline_seconds: unknown key; ")
    assert "load_timeout" in reason


class Loose(Struct, frozen=True):
    x: int = 1


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    token: int
    rate: float = 1.0


def test_tables_of_plugins() -> None:
    assert convert_table(Strict, {"token": 1, "rate": 2}, "p") == (Strict(1, 2.0), [])
    assert convert_table(Strict, {}, "p")[1] == ["p.token: required, but missing"]
    assert "forbid_unknown_fields" in convert_table(Loose, {}, "p")[1][0]
    assert "hunter2" not in convert_table(Strict, {"token": "hunter2"}, "p")[1][0]


def test_a_variable_below_what_is_no_table(tmp_path: Path) -> None:
    path = write(tmp_path, "[sources]\nupload = 1\n")
    found = reasons(path, {"EMBEDWELL_SOURCES__UPLOAD__MAX_CONCURRENT": "1"})
    assert found[0].startswith("sources.upload.max_concurrent: upload is not a table")


def test_the_reference_file_says_the_defaults() -> None:
    from_file = load(ROOT / "config.toml", {}, {})
    assert from_file.server == Config().server
    assert from_file.engine == Config().engine
    assert from_file.batching == Config().batching
    assert from_file.cache.strategy == Config().cache.strategy
    assert from_file.sources.load_timeout == Config().sources.load_timeout


def test_variables_that_others_set_for_a_service_of_this_name_are_left_alone() -> None:
    cluster = {"EMBEDWELL_PORT": "tcp://10.0.0.1:80", "EMBEDWELL_SERVICE_HOST": "10.0.0.1"}
    assert load(None, cluster, {}) == Config()


def test_one_underscore_too_few_is_told() -> None:
    (reason,) = reasons(None, {"EMBEDWELL_SERVER_MAX_BODY_MB": "9"})
    expected = (
        "EMBEDWELL_SERVER_MAX_BODY_MB: not a setting; did you mean EMBEDWELL_SERVER__MAX_BODY_MB?"
    )
    assert reason == expected
    assert load(None, {"EMBEDWELL_SERVER_PORT": "tcp://10.0.0.1:80"}, {}) == Config()


def test_a_list_in_the_environment_is_shown_how() -> None:
    (reason,) = reasons(None, {"EMBEDWELL_SERVER__ALLOWED_HOSTS": "embeddings.example.com"})
    assert """expected a list such as ["one", "two"], got 'embeddings.example.com'""" in reason


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load(write(tmp_path, "\ufeff[server]\nport = 1\n"), {}, {}).server.port == 1


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    a: int
    b: int = 0


class Env(Struct, frozen=True, forbid_unknown_fields=True):
    env: str


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    inner: Inner | None = None
    token: Env | None = None
    rates: dict[str, float] = {}


class Picky(Struct, frozen=True, forbid_unknown_fields=True):
    a: int = 1

    def __post_init__(self) -> None:
        raise KeyError("picky")


def test_tables_inside_tables_are_walked_too() -> None:
    value, found = convert_table(Outer, {"inner": {"a": "x", "b": "y", "c": 1}}, "p")
    assert value is None
    assert [reason.split(":")[0] for reason in found] == ["p.inner.c", "p.inner.a", "p.inner.b"]
    assert convert_table(Outer, {"inner": {"a": 1}}, "p") == (Outer(Inner(1)), [])
    assert "finite" in convert_table(Outer, {"rates": {"q": float("inf")}}, "p")[1][0]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    low: int = 0
    high: int = 0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low: more than high", "nothing lies between")


class Named(Struct, frozen=True, forbid_unknown_fields=True):
    limits: dict[str, Limits] = {}
    keys: dict[str, Limits] = {}


def test_each_table_of_a_table_of_tables_is_walked() -> None:
    wrong = {"a": {"low": "x", "hihg": 1}, "b": {"low": 1}, "c": 5, "d": {"high": 1}}
    assert convert_table(Named, {"limits": wrong}, "p")[1] == [
        'p.limits.a.hihg: unknown key; did you mean "high"?',
        "p.limits.a.low: expected int, got 'x'",
        "p.limits.b.low: more than high",
        "p.limits.b: nothing lies between",
        "p.limits.c: expected a table",
    ]
    right = {"d": {"high": 1}}
    assert convert_table(Named, {"limits": right}, "p") == (Named({"d": Limits(0, 1)}), [])


def test_below_a_private_name_no_value_is_shown() -> None:
    (reason,) = convert_table(Named, {"keys": {"a": {"low": "hunter2"}}}, "p")[1]
    assert reason == "p.keys.a.low: expected int, got str"


@pytest.mark.parametrize("wrong", ["hunter2", {"value": "hunter2"}, {"env": ["hunter2"]}])
def test_a_secret_in_the_wrong_place_is_not_shown(wrong: object) -> None:
    (reason,) = convert_table(Outer, {"token": wrong}, "p")[1]
    assert reason.startswith("p.token: ")
    assert "hunter2" not in reason


def test_a_plugins_own_check_that_breaks_is_a_reason() -> None:
    assert convert_table(Picky, {}, "p") == (None, ["p: KeyError: 'picky'"])


def test_timeouts_that_do_not_fit_together(tmp_path: Path) -> None:
    path = write(tmp_path, "[batching]\nbatch_timeout = 100\n")
    assert reasons(path) == [
        "batching.batch_timeout: twice 100 s must fit in server.request_timeout, 120 s"
    ]


def test_a_variable_at_fault_is_named() -> None:
    (reason,) = reasons(None, {"EMBEDWELL_SERVER__PRT": "1"})
    assert reason.endswith("(from EMBEDWELL_SERVER__PRT)")


def test_choices_are_listed(tmp_path: Path) -> None:
    (reason,) = reasons(write(tmp_path, "[engine]\ndtype = 'int3'\n"))
    assert reason == "engine.dtype: expected auto or float32 or bfloat16, got 'int3'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("forever", None), ("90", 90), ("90s", 90), ("10m", 600), ("12h", 43_200), ("7d", 604_800)],
)
def test_durations(text: str, expected: float | None) -> None:
    assert (
        seconds(load(None, {"EMBEDWELL_CACHE__KEEP_ALIVE": text}, {}).cache.keep_alive) == expected
    )


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1.5h", "1w", "9999999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cache\.keep_alive"):
        load(None, {}, {"cache.keep_alive": text})


def test_aliases_are_a_table_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[aliases]\n"text-embedding-3-small" = "owner/name"\n')
    assert load(path, {}, {}).aliases == {"text-embedding-3-small": "owner/name"}
    path.write_text("[aliases]\na = 5\n")
    with pytest.raises(ConfigurationError, match="expected a tag, got 5"):
        load(path, {}, {})
    path.write_text('aliases = "a"\n')
    with pytest.raises(ConfigurationError, match="expected a table"):
        load(path, {}, {})
