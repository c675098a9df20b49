"""The backend's promises beside the vectors themselves."""

import gc
import os
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from embedwell.engine import backends
from embedwell.engine.body import Body
from embedwell.engine.cpu.backend import BATCH_TOKENS, CpuBackend
from embedwell.engine.memory import is_out_of_memory
from embedwell.errors import ConfigurationError
from embedwell.interfaces.encoders import Backend, DeviceOutOfMemory, Encoder
from embedwell.interfaces.models import Pooling
from tests.core.engine import small_models as small


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.build(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture
def encoder(bert: Path) -> Encoder:
    return CpuBackend(2, "float32").load(bert, small.manifest(bert))


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_processor_is_there(device: str) -> None:
    backend: Backend = backends.create(device, "auto", 1)
    assert (backend.device, backend.dtype) == ("cpu", "auto")
    backend.warm(["bert", "no-such-kind"])
    backend.check()
    memory = backend.memory.measure()
    assert 0 < memory.free <= memory.total
    backend.forget()


def test_what_torch_reads_of_the_environment_is_set_unless_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*backends.ENVIRONMENT, backends.SPINNING, backends.WAITING):
        monkeypatch.setenv(name, "7")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    backends.create("cpu", "auto", 1)
    ours = {**backends.ENVIRONMENT, backends.SPINNING: backends.SPINS}
    expected = {**ours, "LRU_CACHE_CAPACITY": "7"}
    assert {name: os.environ[name] for name in expected} == expected


def test_an_operators_word_on_waiting_threads_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.SPINNING, "7")
    monkeypatch.delenv(backends.SPINNING)
    monkeypatch.setenv(backends.WAITING, "PASSIVE")
    backends.create("cpu", "auto", 1)
    assert backends.SPINNING not in os.environ


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_is_said_to_be_missing(device: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f'{device} .*no CUDA backend yet.*"auto" or "cpu"'
    ):
        backends.create(device, "auto", 0)


def test_every_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LIBRARIES", ("torch", "no_such_library"))
    with pytest.raises(ConfigurationError) as caught:
        backends.create("tpu", "auto", 0)
    device, libraries = caught.value.reasons
    assert "'tpu' is no device" in device
    assert "no_such_library" in libraries
    assert 'pip install "embedwell[torch]"' in libraries


def test_facts(bert: Path, encoder: Encoder) -> None:
    facts = encoder.facts
    assert (facts.device, facts.verdict.dtype, facts.dimensions) == ("cpu", "float32", small.HIDDEN)
    assert facts.vocabulary == small.VOCABULARY
    assert facts.batch_tokens == BATCH_TOKENS
    parameters = torch.nn.Module.parameters(encoder._loaded[0].model)  # type: ignore[attr-defined]
    assert facts.need.weights >= sum(p.nbytes for p in parameters)
    assert facts.need.peak > 0


def test_an_estimate_counts_float32_and_score_tables(bert: Path) -> None:
    backend, manifest = CpuBackend(1, "float32"), small.manifest(bert)
    need = backend.estimate(manifest)
    assert need.weights == 4 * manifest.tensors
    assert need.peak == 4 * BATCH_TOKENS * (12 * 32 + 3 * 64)
    relative = small.manifest(bert, config={"relative_attention": True})
    assert backend.estimate(relative).peak > need.peak


def test_ids_outside_the_vocabulary_never_reach_the_table(encoder: Encoder) -> None:
    for wrong in (-1, small.VOCABULARY):
        with pytest.raises(ValueError, match="outside the vocabulary"):
            encoder.encode(small.batch([[5, wrong]]))
    with pytest.raises(ValueError, match="longer than the 96 positions"):
        encoder.encode(small.batch([[5] * 97]))


def test_positions_that_start_after_padding_are_fewer(tmp_path: Path) -> None:
    folder = small.build(tmp_path, "roberta")
    encoder = CpuBackend(2, "float32").load(folder, small.manifest(folder, max_tokens=500))
    assert encoder.encode(small.batch([[5] * 96])).shape == (1, small.HIDDEN)
    with pytest.raises(ValueError, match="longer than the 96 positions"):
        encoder.encode(small.batch([[5] * 97]))


def test_skips_leave_tokens_out(bert: Path) -> None:
    modules = (Pooling(("mean",), include_prompt=False),)
    encoder = CpuBackend(2, "float32").load(bert, small.manifest(bert, modules=modules))
    texts = small.random_texts(0, [6, 6, 9, 6])
    skips = [2, 0, 3, 2]
    rows = encoder.encode(small.batch(texts, skips))
    stock = small.stock_rows(bert, texts)
    expected = np.stack([r[s:].mean(0).numpy() for r, s in zip(stock, skips, strict=True)])
    assert small.distances(rows, expected).max() < 1e-9


def test_a_closed_encoder_keeps_nothing(encoder: Encoder) -> None:
    body: Body = encoder._loaded[0]  # type: ignore[attr-defined]
    seen = weakref.ref(body.model.get_parameter("embeddings.word_embeddings.weight"))
    del body
    gc.disable()  # it is the encoder that has cycles collected
    try:
        encoder.close()
    finally:
        gc.enable()
    assert seen() is None
    with pytest.raises(RuntimeError, match="closed"):
        encoder.encode(small.batch([[5]]))


def test_a_failed_load_keeps_nothing(bert: Path) -> None:
    before = _tensors()
    with pytest.raises(Exception, match="dimensions") as caught:
        CpuBackend(2, "float32").load(bert, small.manifest(bert, dimensions=7))
    assert caught.value.__context__ is None
    assert _tensors() <= before


def _tensors() -> int:
    gc.collect()
    return sum(type(thing) is torch.nn.Parameter for thing in gc.get_objects())


def test_threads_are_set_where_batches_run(bert: Path) -> None:
    encoder = CpuBackend(1, "float32").load(bert, small.manifest(bert))
    seen: list[int] = []

    def work() -> None:
        torch.set_num_threads(2)
        encoder.encode(small.batch([[5, 6]]))
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1]


def test_a_lack_of_memory_is_named(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    body: Body = encoder._loaded[0]  # type: ignore[attr-defined]

    def hungry(inputs: object) -> Tensor:
        return torch.empty(1 << 60)

    with monkeypatch.context() as patch:
        patch.setattr(body, "_pass", hungry)
        with pytest.raises(DeviceOutOfMemory, match="2 tokens") as caught:
            encoder.encode(small.batch([[5, 6]]))
    assert caught.value.__context__ is None
    assert encoder.encode(small.batch([[5, 6]])).shape == (1, small.HIDDEN)


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_what_counts_as_a_lack_of_memory(error: Exception, lacking: bool) -> None:
    assert is_out_of_memory(error) is lacking


def test_batches_run_side_by_side_up_to_a_bound() -> None:
    assert [CpuBackend(count).side_by_side for count in (1, 3, 8, 64)] == [1, 3, 8, 8]


def test_what_runs_side_by_side_takes_memory_at_once(bert: Path) -> None:
    peaks = [CpuBackend(count).estimate(small.manifest(bert)).peak for count in (1, 2, 8, 64)]
    assert peaks == [peaks[0], 2 * peaks[0], 8 * peaks[0], 8 * peaks[0]]
