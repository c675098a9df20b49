"""Packed passes recorded as programs: which models they are, that they compute the same, and go."""

import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from embedwell.engine import parity, transformer
from embedwell.engine.body import Body
from embedwell.engine.cpu import operators, precision
from embedwell.engine.program import Recorded
from embedwell.interfaces.encoders import Verdict
from tests.core.engine import small_models as small

# Not recorded: what sees a window or caps its scores looks at lengths; the rest runs padded.
RECORDED = {
    *("bert", "roberta", "xlm-roberta", "electra", "distilbert", "albert", "nomic_bert"),
    *("qwen3", "llama", "gpt2", "opt"),
}
LENGTHS = ((1,), (3, 3, 20), (2, 9, 40, 41, 60), (90, 90), (3,) * 20, (3, 5) * 10 + (40, 90))


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def loaded(folder: Path, kind: str, dtype: str) -> Body:
    small.build(folder, kind)
    body = Body(transformer.load(folder, small.manifest(folder)))
    packed = parity.choose(body, 90).packed
    fast = operators.usable(precision.DTYPES[dtype])
    return precision._shaped(body, Verdict(dtype=dtype, packed=packed, fast=fast))


def rows(body: Body, lengths: tuple[int, ...]) -> Tensor:
    return body.rows(parity.probe(body, lengths)).end_to_end()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", small.CONFIGS)
def test_a_program_computes_what_the_model_computes(kind: str, dtype: str, tmp_path: Path) -> None:
    body = loaded(tmp_path, kind, dtype)
    recorded = body._pass
    assert isinstance(recorded, Recorded) == (kind in RECORDED)
    if not isinstance(recorded, Recorded):
        return
    found = [rows(body, lengths) for lengths in LENGTHS]
    body._pass = body._plain
    for some, lengths in zip(found, LENGTHS, strict=True):
        torch.testing.assert_close(some, rows(body, lengths), atol=1e-5, rtol=1e-5)


def test_a_program_goes_with_its_model(tmp_path: Path) -> None:
    body = loaded(tmp_path, "bert", "float32")
    table = weakref.ref(body.model.get_input_embeddings().weight)
    assert isinstance(body._pass, Recorded)
    del body
    gc.collect()
    assert table() is None


def test_a_program_runs_in_several_threads(tmp_path: Path) -> None:
    body = loaded(tmp_path, "bert", "bfloat16")
    wanted = [rows(body, lengths) for lengths in LENGTHS]
    wrong: list[int] = []

    @torch.inference_mode()
    def run(first: int) -> None:
        for turn in range(first, first + 40):
            which = turn % len(LENGTHS)
            if not torch.equal(rows(body, LENGTHS[which]), wanted[which]):
                wrong.append(turn)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.fixture
def one_processor() -> Iterator[None]:
    """The time of a thread is not that of those who help it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_processor")
def test_a_program_computes_while_another_thread_keeps_pythons_lock(tmp_path: Path) -> None:
    body = loaded(tmp_path, "bert", "float32")
    inputs = body._inputs(parity.probe(body, (90,) * 400))
    run = torch.inference_mode()(body._pass)
    run(inputs)  # makes its places, for which the lock is let go
    before = time.thread_time()
    run(inputs)
    whole = time.thread_time() - before
    thread = threading.Thread(target=run, args=(inputs,))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    try:
        thread.start()  # comes back when that thread has let the lock go: within the program
        assert thread.ident is not None
        clock = time.pthread_getcpuclockid(thread.ident)
        until = time.monotonic() + 30
        while time.clock_gettime(clock) < whole / 2 and time.monotonic() < until:
            pass
        assert time.clock_gettime(clock) >= whole / 2
    finally:
        sys.setswitchinterval(interval)
        thread.join()


class Deciding(torch.nn.Module):
    """Looks at its numbers to decide what to compute."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.inner(rows)
        return found * 2 if float(found.sum()) > 0 else found


def test_a_model_that_looks_at_its_numbers_stays_in_python(tmp_path: Path) -> None:
    small.build(tmp_path, "bert")
    model: Any = transformer.load(tmp_path, small.manifest(tmp_path))
    model.encoder.layer[0].output.dense = Deciding(model.encoder.layer[0].output.dense)
    body = precision._shaped(Body(model), Verdict(dtype="float32", packed=True))
    assert not isinstance(body._pass, Recorded)
    assert rows(body, (3, 5)).isfinite().all()
