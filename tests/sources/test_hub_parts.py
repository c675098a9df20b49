"""The Hub source's parts: which files, which cache, which settings, and the child's end."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from embedwell import InvalidModel, ModelRef
from embedwell.testing import make_model_folder
from embedwell_source_huggingface import config as settings
from embedwell_source_huggingface.actions import possible
from embedwell_source_huggingface.cache import LocalCache
from embedwell_source_huggingface.config import Config, Env
from embedwell_source_huggingface.files import choose
from embedwell_source_huggingface.messages import Ask, Failed
from embedwell_source_huggingface.process import (
    MODULE,
    TAIL,
    child,
    environment,
    last_words,
)
from tests.sources.hub import COMMIT, contents, store
from tests.sources.hub_bench import quiet

PLAIN = ["config.json", "tokenizer.json", "model.safetensors"]
SHARDS = ["model.safetensors.index.json", "model-00001-of-00002.safetensors",
          "model-00002-of-00002.safetensors"]  # fmt: skip


def test_choosing_leaves_code_and_other_formats_behind() -> None:
    other = ["README.md", "modeling.py", "pytorch_model.bin", "onnx/config.json", "vocab.txt",
             "model.fp16.safetensors", "../config.json", "adapter_model.safetensors"]  # fmt: skip
    assert choose([*PLAIN, *other], "a/b") == tuple(sorted(PLAIN))


def test_one_file_is_better_than_shards() -> None:
    assert choose([*PLAIN, *SHARDS], "a/b") == tuple(sorted(PLAIN))
    assert choose([*PLAIN[:2], *SHARDS], "a/b") == tuple(sorted([*PLAIN[:2], *SHARDS]))


def test_modules_in_folders() -> None:
    body = [f"0_Transformer/{name}" for name in [*PLAIN, "sentence_bert_config.json"]]
    rest = ["modules.json", "1_Pooling/config.json", "2_Dense/config.json",
            "2_Dense/model.safetensors", "config_sentence_transformers.json"]  # fmt: skip
    assert choose([*body, *rest, "2_Dense/pytorch_model.bin"], "a/b") == tuple(sorted(body + rest))


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["README.md"], "a/b has no config.json: it is not a transformers model"),
        (["config.json", "tokenizer.json"], r"a/b has no weights \(model.safetensors\)"),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], "only pytorch_model.bin: convert"),
        (["config.json", "model.safetensors", "vocab.txt"], "no tokenizer.json .a fast tokenizer"),
    ],
)
def test_what_a_repository_lacks_is_said(names: list[str], why: str) -> None:
    with pytest.raises(InvalidModel, match=why):
        choose(names, "a/b")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return contents(make_model_folder(tmp_path / "original"))


@pytest.mark.parametrize(
    "missing",
    ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json", "modules.json"],
)
def test_a_cached_model_lacking_a_file_is_not_served(
    tmp_path: Path, files: dict[str, bytes], missing: str
) -> None:
    cache = LocalCache([tmp_path / "none", tmp_path / "cache"])
    del files[missing]
    path = store(tmp_path / "cache", "a/b", files)
    assert cache.at("a/b", COMMIT) is None
    assert cache.commit("a/b", "main") is None
    assert cache.every() == []
    if missing == "modules.json":  # noted as absent from the repository, it is not missing
        note = path.parents[1] / ".no_exist" / COMMIT / missing
        note.parent.mkdir(parents=True)
        note.touch()
        assert cache.at("a/b", COMMIT) is not None


def test_a_listing_decides_where_there_is_one(tmp_path: Path, files: dict[str, bytes]) -> None:
    cache = LocalCache([tmp_path])
    path = store(tmp_path, "a/b", files)
    tree = path.parents[1] / "trees" / f"{COMMIT}.json"
    tree.parent.mkdir()
    tree.write_text(json.dumps({"files": dict.fromkeys([*files, "2_Dense/config.json"])}))
    assert cache.at("a/b", COMMIT) is None
    tree.write_text(json.dumps({"files": dict.fromkeys(files)}))
    assert cache.at("a/b", COMMIT) is not None


def test_shards_must_all_be_there(tmp_path: Path, files: dict[str, bytes]) -> None:
    weights = files.pop("model.safetensors")
    places = {"a": SHARDS[1], "b": SHARDS[2]}
    files[SHARDS[0]] = json.dumps({"weight_map": places}).encode()
    files[SHARDS[1]] = weights
    store(tmp_path, "a/b", files)
    assert LocalCache([tmp_path]).at("a/b", COMMIT) is None
    store(tmp_path / "whole", "a/b", {**files, SHARDS[2]: weights + b"2"})
    assert LocalCache([tmp_path / "whole"]).at("a/b", COMMIT) is not None


def test_a_model_that_goes_is_noticed(tmp_path: Path, files: dict[str, bytes]) -> None:
    cache = LocalCache([tmp_path])
    path = store(tmp_path, "a/b", files)
    assert cache.at("a/b", COMMIT) == cache.at("a/b", COMMIT)
    (path / "tokenizer.json").resolve().unlink()
    assert cache.at("a/b", COMMIT) is None


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[[]]", b"[" * 50_000, b"\xff\xfe", b'[{"type": 3}]']
)
def test_damaged_files_in_a_cache_harm_nobody(
    tmp_path: Path, files: dict[str, bytes], damage: bytes
) -> None:
    path = store(tmp_path, "a/b", files)
    for name in ("refs/main", f"trees/{COMMIT}.json", f"snapshots/{COMMIT}/modules.json"):
        file = path.parents[1] / name
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(damage)
    cache = LocalCache([tmp_path])
    assert cache.commit("a/b", "main") is None
    cache.every()


def test_the_listing_has_main_first_and_passes_strange_folders_over(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    store(tmp_path, "a/b", files, "f" * 40)
    store(tmp_path, "a/b", files, COMMIT)  # the later one is main
    for strange in ("models--x", "datasets--a--b", "models--a--b--c", "models--a--.."):
        (tmp_path / strange / "snapshots" / COMMIT).mkdir(parents=True)
    keys = [snapshot.key for snapshot in LocalCache([tmp_path, tmp_path / "absent"]).every()]
    assert [(key.name, key.revision) for key in keys] == [("a/b", COMMIT), ("a/b", "f" * 40)]


def test_where_models_lie(tmp_path: Path) -> None:
    def cache(given: str = "", **variables: str) -> tuple[Path, Path]:
        found = settings.places(Config(cache_dir=given), tmp_path, {"HOME": "/home/me"} | variables)
        return found.cache, found.home

    assert cache() == (tmp_path / "hub", tmp_path / "home")
    assert cache(HF_HOME="/h") == (Path("/h/hub"), Path("/h"))
    assert cache(HF_HOME="/h", HF_HUB_CACHE="/c") == (Path("/c"), Path("/h"))
    assert cache("/given", HF_HUB_CACHE="/c")[0] == Path("/given")
    standard = Path("/home/me/.cache/huggingface/hub")
    assert settings.places(Config(), tmp_path, {"HOME": "/home/me"}).others == (standard,)
    assert (
        settings.places(Config(cache_dir=str(standard)), tmp_path, {"HOME": "/home/me"}).others
        == ()
    )


def test_the_token_comes_by_reference_and_is_never_shown() -> None:
    assert settings.access(Config(), {}).token is None
    assert settings.access(Config(), {"HF_TOKEN": "hf_x\n"}).token == "hf_x"
    assert settings.access(Config(token="hf_y"), {"HF_TOKEN": "hf_x"}).token == "hf_y"
    with pytest.raises(ValueError, match="the environment variable MINE is not set"):
        settings.access(Config(token=Env("MINE")), {})
    assert "hf_y" not in repr(Config(token="hf_y"))
    assert "hf_y" not in repr(settings.access(Config(token="hf_y"), {}))


@pytest.mark.parametrize(
    "values",
    [{"endpoint": "file:///etc"}, {"download": "always"}, {"timeout": 0}, {"token": {"env": "A B"}},
     {"max_concurrent": 0}, {"unknown": 1}],
)  # fmt: skip
def test_settings_are_bounded(values: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, Config)


def test_the_childs_environment_has_no_token() -> None:
    given = {"HF_TOKEN": "hf_x", "HF_HUB_OFFLINE": "1", "PATH": "/bin", "HF_ENDPOINT": "http://a"}
    made = environment(given, "/home", "http://b")
    assert made == {
        "PATH": "/bin", "HF_HOME": "/home", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_ENDPOINT": "http://b",
    }  # fmt: skip


def ask(hub: str) -> Ask:
    return Ask("a/b", "main", hub, None, 60.0)


async def silent_hub() -> asyncio.Server:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    return await asyncio.start_server(hold, "127.0.0.1", 0)


async def test_a_child_that_dies_is_a_failure(tmp_path: Path) -> None:
    async with await silent_hub() as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with child(ask(url), environment(os.environ, str(tmp_path), None)) as asked:
            os.kill(asked.pid, signal.SIGKILL)
            assert await asked.hear() == Failed("bug")


async def test_a_child_that_hears_nothing_is_killed(tmp_path: Path) -> None:
    async with await silent_hub() as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with child(ask(url), environment(os.environ, str(tmp_path), None)) as asked:
            os.kill(asked.pid, signal.SIGSTOP)
        with pytest.raises(ProcessLookupError):
            os.kill(asked.pid, 0)


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ("403 for url 'https://a.b/c?X-Sig=1&y=%2F'\nnext", "403 for url 'https://a.b/c?…'\nnext"),
        ("with url: /c?X-Sig=1 (refused)", "with url: /c?… (refused)"),
        ("What? Nothing", "What? Nothing"),
    ],
)
async def test_queries_of_addresses_are_left_out(said: str, logged: str) -> None:
    assert await heard(said) == logged


async def test_of_much_the_end_is_kept_and_no_half_address() -> None:
    assert await heard("https://a.b/c?X-Sig=" + "s" * TAIL + " and the end") == "and the end"
    for much in (69_000, 100_000):  # an end of the word by itself, in the last read
        assert await heard("s" * much) == ""
        assert await heard("s" * much + " and the end") == "and the end"


async def heard(said: str) -> str:
    stream = asyncio.StreamReader()
    stream.feed_data(said.encode())
    stream.feed_eof()
    return await last_words(stream)


async def test_a_child_that_is_left_in_a_hurry_is_heard_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second cancellation, while the child ends, loses nothing of what is under way."""
    caplog.set_level("INFO")
    answered = asyncio.Event()

    async def work() -> None:
        environ = environment(os.environ, str(tmp_path), None)
        async with child(ask("http://127.0.0.1:9"), environ) as asked:
            assert await asked.hear() == Failed("unreachable")
            answered.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await answered.wait()
    for _ in range(2):
        working.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await working
    await quiet()
    assert "the child that talked to the Hub said: Connect" in caplog.text


async def test_a_child_ends_with_the_server(tmp_path: Path) -> None:
    """Its standard input closes when the server's process is gone, however it went."""
    async with await silent_hub() as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        working = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=environment(os.environ, str(tmp_path), None),
        )
        assert working.stdin is not None
        working.stdin.write(msgspec.json.encode(ask(url)) + b"\n")
        working.stdin.close()
        assert await working.wait() == 1


def test_names_that_the_hub_cannot_have() -> None:
    assert possible("a/b")
    assert not any(map(possible, ["a", "a--b/c", "a/b..c"]))
    assert str(ModelRef("a/b", "main")) == "a/b@main"
