"""The tokenisers in memory."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from embedwell.errors import Invalid, InvalidModel
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.models import ModelKey, Snapshot
from embedwell.tokenization.tokenizer import SHORT, Tokenizer
from embedwell.tokenization.tokenizers import Tokenizers
from tests.core.tokenization import small_tokenizers as small
from tests.core.tokenization.small_tokenizers import CLS, MANIFEST, SEP, call, ids


class CountedThreads:
    """Real threads, each run counted, held back by a gate."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.names.append(function.__name__)
        return await asyncio.to_thread(self._run, function, args, kwargs)

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self.gate.wait()
        return function(*args, **kwargs)


@pytest.fixture
def threads() -> CountedThreads:
    return CountedThreads()


@pytest.fixture
async def tokenizers(threads: CountedThreads) -> AsyncIterator[Tokenizers]:
    made = Tokenizers(threads, capacity=2)
    yield made
    threads.gate.set()
    await made.aclose()


def snapshot(folder: Path, name: str = "m") -> Snapshot:
    if not folder.exists():
        small.save(folder, small.words())
    return Snapshot(folder, ModelKey("test", name, "r"), f"digest of {name}")


async def test_loaded_once_however_many_ask(
    tokenizers: Tokenizers, threads: CountedThreads, tmp_path: Path
) -> None:
    model = snapshot(tmp_path / "m")
    threads.gate.clear()
    asked = [asyncio.create_task(tokenizers.encode(model, MANIFEST, call("w0"))) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    threads.gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(ids(tokens) == [[CLS, 4, SEP]] for tokens in answers[1:])  # type: ignore[arg-type]
    assert threads.names == ["load"]


async def test_short_texts_inline_long_ones_in_a_thread(
    tokenizers: Tokenizers, threads: CountedThreads, tmp_path: Path
) -> None:
    model = snapshot(tmp_path / "m")
    manifest = replace(MANIFEST, max_tokens=SHORT, prompts={"p": "w1 " * (SHORT // 3)})
    await tokenizers.encode(model, manifest, call("w0 " * (SHORT // 3 - 12)))
    assert threads.names == ["load"]
    await tokenizers.encode(model, manifest, call("w0 " * (SHORT // 3 + 1)))
    await tokenizers.encode(model, manifest, call("w0", prompt_name="p"))
    await tokenizers.encode(model, manifest, call(*[(5,) * 100] * 30))
    assert threads.names == ["load", "encode", "encode", "encode"]


async def test_a_slow_tokenizer_leaves_the_loop(threads: CountedThreads, tmp_path: Path) -> None:
    tokenizers = Tokenizers(threads, patience=-1.0)
    model = snapshot(tmp_path / "m")
    for _ in range(3):
        await tokenizers.encode(model, MANIFEST, call("w0"))
    assert threads.names == ["load", "encode", "encode"]
    await tokenizers.aclose()


async def test_many_short_texts_leave_the_loop_as_well(
    tokenizers: Tokenizers, threads: CountedThreads, tmp_path: Path
) -> None:
    model = snapshot(tmp_path / "m")
    await tokenizers.encode(model, MANIFEST, call(*["w0"] * 50))
    assert threads.names == ["load"]
    await tokenizers.encode(model, MANIFEST, call(*["w0"] * 60))
    assert threads.names == ["load", "encode"]


async def test_one_that_had_to_wait_for_a_processor_stays(
    tokenizers: Tokenizers,
    threads: CountedThreads,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = Tokenizer.encode

    def late(tokenizer: Tokenizer, asked: EmbeddingCall) -> Tokens:
        time.sleep(0.05)
        return encode(tokenizer, asked)

    monkeypatch.setattr(Tokenizer, "encode", late)
    model = snapshot(tmp_path / "m")
    for _ in range(3):
        await tokenizers.encode(model, MANIFEST, call("w0"))
    assert threads.names == ["load"]


async def test_the_least_recently_used_goes(
    tokenizers: Tokenizers, threads: CountedThreads, tmp_path: Path
) -> None:
    models = {name: snapshot(tmp_path / name, name) for name in "abc"}
    for name in ("a", "b", "a", "c", "a"):
        await tokenizers.encode(models[name], MANIFEST, call("w0"))
    assert threads.names == ["load"] * 3
    await tokenizers.encode(models["b"], MANIFEST, call("w0"))
    assert threads.names == ["load"] * 4


async def test_those_still_loading_are_not_dropped(
    tokenizers: Tokenizers, threads: CountedThreads, tmp_path: Path
) -> None:
    models = [snapshot(tmp_path / name, name) for name in "abcd"]
    threads.gate.clear()
    asked = [
        asyncio.create_task(tokenizers.encode(model, MANIFEST, call("w0"))) for model in models * 2
    ]
    await asyncio.sleep(0)
    threads.gate.set()
    await asyncio.gather(*asked)
    assert threads.names == ["load"] * 4


async def test_a_failure_is_told_to_all_and_forgotten(
    tokenizers: Tokenizers, threads: CountedThreads, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    model = snapshot(folder)
    asked = [tokenizers.encode(model, MANIFEST, call("w0")) for _ in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, InvalidModel) for answer in answers)
    small.save(folder, small.words())
    assert ids(await tokenizers.encode(model, MANIFEST, call("w0"))) == [[CLS, 4, SEP]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "tokenizer.json is missing"),
        ("", "cannot be used"),
        ("{}", "cannot be used"),
        ('{"model": {"type": "Nonsense"}}', "cannot be used"),
        ("\ud800".encode("utf-8", "surrogatepass"), "cannot be used"),
    ],
)
async def test_a_tokenizer_that_cannot_be_read(
    tokenizers: Tokenizers, tmp_path: Path, content: str | bytes | None, reason: str
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    if content is not None:
        raw = content.encode() if isinstance(content, str) else content
        (folder / "tokenizer.json").write_bytes(raw)
    with pytest.raises(InvalidModel, match=reason) as caught:
        await tokenizers.encode(snapshot(folder), MANIFEST, call("w0"))
    assert str(tmp_path) not in caught.value.message


async def test_it_lies_in_the_transformers_folder(tokenizers: Tokenizers, tmp_path: Path) -> None:
    small.save(tmp_path / "m" / "0_Transformer", small.words())
    manifest = replace(MANIFEST, folder="0_Transformer")
    tokens = await tokenizers.encode(snapshot(tmp_path / "m"), manifest, call("w0"))
    assert ids(tokens) == [[CLS, 4, SEP]]


async def test_errors_of_the_input_come_through(tokenizers: Tokenizers, tmp_path: Path) -> None:
    model = snapshot(tmp_path / "m")
    for texts in (("w0", "\ud800"), ("\ud800" * SHORT,)):
        with pytest.raises(Invalid, match="lone surrogate"):
            await tokenizers.encode(model, MANIFEST, call(*texts))


async def test_closing_cancels_what_loads(threads: CountedThreads, tmp_path: Path) -> None:
    tokenizers = Tokenizers(threads)
    threads.gate.clear()
    asked = asyncio.create_task(tokenizers.encode(snapshot(tmp_path / "m"), MANIFEST, call("w0")))
    await asyncio.sleep(0)
    await tokenizers.aclose()
    threads.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
