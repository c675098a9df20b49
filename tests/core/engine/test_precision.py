"""Which precision a load settles on, in which order, what it says of it and what it remembers."""

import gc
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from embedwell import samples
from embedwell.engine import encoder, packing, short, transformer
from embedwell.engine.body import Body
from embedwell.engine.cpu import operators, precision
from embedwell.engine.cpu.backend import CpuBackend
from embedwell.engine.cpu.precision import Settling, least_cosine
from embedwell.engine.cpu.surgery import PackedLinear
from embedwell.engine.heads import Heads
from embedwell.engine.packing import Group
from embedwell.engine.pooling import TokenRows
from embedwell.engine.tolerances import FLOORS
from embedwell.interfaces.caches import Need
from embedwell.interfaces.encoders import UNTRIED, EncoderFacts, Trial, Verdict
from tests.core.engine import small_models as small

AGREE = "packed and single texts agree"
KEEPS = r"keeps its vectors to a cosine of \d\.\d{6}"
NO_BFLOAT16 = "this processor has no bfloat16 products"
Change = Callable[[Any], None]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.build(tmp_path_factory.mktemp("bert"), "bert")


def fast(dtype: str) -> bool:
    """Whether this processor has packed products in it; older ones have none in bfloat16."""
    return operators.usable(precision.DTYPES[dtype])


def in_tiles(tokens: int) -> int:
    return tokens + packing.tail(tokens)


class Counted(Body):
    """Notes the tokens of each pass."""

    def __init__(self, model: PreTrainedModel, passes: list[int]) -> None:
        super().__init__(model)
        self._passes = passes

    def rows(self, group: Group) -> TokenRows:
        self._passes.append(in_tiles(len(group.ids)))
        return super().rows(group)


class Bench:
    """Settles a small model, changed as a test likes; counts reads and the tokens of each pass."""

    def __init__(
        self, folder: Path, change: Change = lambda model: None, longest: int = 90
    ) -> None:
        self.manifest, self._folder, self._change = small.manifest(folder), folder, change
        self.heads, self._longest = Heads(folder, self.manifest), longest
        self.reads = 0
        self.passes: list[int] = []

    def settle(self, wanted: str, trial: Trial = UNTRIED) -> tuple[Body, Verdict]:
        return Settling(self._read, self.heads, self.facts, self._longest).settle(wanted, trial)

    def _read(self) -> Body:
        self.reads += 1
        model = transformer.load(self._folder, self.manifest)
        self._change(model)
        return Counted(model, self.passes)

    def facts(self, body: Body, verdict: Verdict) -> EncoderFacts:
        return EncoderFacts(
            device="cpu",
            dimensions=small.HIDDEN,
            vocabulary=body.vocabulary,
            batch_tokens=2048,
            need=Need(body.bytes, 0),
            verdict=verdict,
        )

    def rows(self, body: Body, verdict: Verdict, texts: list[list[int]]) -> NDArray[np.float32]:
        return encoder.rows(small.batch(texts), body, self.heads, self.facts(body, verdict))


def matches(pattern: str, text: str) -> None:
    assert re.fullmatch(pattern, text), text


def dtypes(body: Body) -> set[torch.dtype]:
    packed = [m.weight.dtype for m in body.model.modules() if isinstance(m, PackedLinear)]
    return {*packed, *(parameter.dtype for parameter in body.model.parameters())}


def processor(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: str) -> None:
    (folder / "cpuinfo").write_text(f"flags : fpu {flags}\n")
    monkeypatch.setattr(operators, "CPUINFO", folder / "cpuinfo")


@pytest.mark.parametrize(
    ("wanted", "got", "why"),
    [
        ("float32", "float32", f"{AGREE}; float32 {KEEPS}"),
        ("bfloat16", "bfloat16", f"{AGREE}; bfloat16 {KEEPS}"),
        ("auto", "bfloat16", f"{AGREE}; bfloat16 {KEEPS}"),
    ],
)
def test_the_cheapest_that_is_wanted_comes_first(
    wanted: str, got: str, why: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, tmp_path, "avx512_bf16")
    bench = Bench(bert)
    body, verdict = bench.settle(wanted)
    assert (verdict.dtype, verdict.packed, verdict.fast, bench.reads) == (got, True, fast(got), 1)
    assert dtypes(body) == {precision.DTYPES[got]}
    assert verdict.cosine is not None
    assert FLOORS[got] <= verdict.cosine <= 1 + 1e-12
    matches(why, verdict.why)


def test_without_products_of_its_own_a_processor_gets_float32(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, tmp_path, "sse2 avx2")
    _, verdict = Bench(bert).settle("auto")
    assert verdict.dtype == "float32"
    matches(f"{AGREE}; {NO_BFLOAT16}; float32 {KEEPS}", verdict.why)


def test_who_asks_for_bfloat16_gets_it_on_any_processor(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, tmp_path, "sse2 avx2")
    _, verdict = Bench(bert).settle("bfloat16")
    assert verdict.dtype == "bfloat16"
    assert NO_BFLOAT16 not in verdict.why


@pytest.mark.parametrize(
    ("floors", "got", "why"),
    [
        ({"bfloat16": 1.0}, ("float32", True), rf"bfloat16 {KEEPS}, less than 1; float32 {KEEPS}"),
        (
            {"bfloat16": 1.5, "float32": 1.5},
            ("float32", False),
            rf"bfloat16 {KEEPS}, less than 1.5; float32 {KEEPS}, less than 1.5; so it runs in plain float32",
        ),
        ({"bfloat16": 0.9}, ("bfloat16", True), rf"bfloat16 {KEEPS}"),
    ],
)
def test_what_is_below_its_floor_is_passed_over(
    floors: dict[str, float],
    got: tuple[str, bool],
    why: str,
    bert: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for dtype, floor in floors.items():
        monkeypatch.setitem(FLOORS, dtype, floor)
    bench = Bench(bert)
    body, verdict = bench.settle("bfloat16")
    dtype, kept = got
    assert (verdict.dtype, verdict.fast) == (dtype, kept and fast(dtype))
    assert (verdict.cosine is None) is (not kept)
    assert dtypes(body) == {precision.DTYPES[dtype]}
    matches(f"{AGREE}; {why}", verdict.why)
    texts = small.random_texts(1, [3, 9, 9, 40])
    rows = bench.rows(body, verdict, texts)
    assert small.distances(rows, small.stock_means(bert, texts)).max() < 1e-4


def test_floors_are_what_rounding_alone_stays_above() -> None:
    assert FLOORS == {"float32": 0.999999, "bfloat16": 0.9995}


def wants_float32(model: Any) -> None:
    """A part of it gives float32 whatever it gets, which a layer in bfloat16 does not take."""
    model.embeddings.register_forward_hook(lambda module, given, output: output.float())


def test_a_model_that_does_not_run_in_bfloat16_runs_in_float32(bert: Path) -> None:
    bench = Bench(bert, wants_float32)
    body, verdict = bench.settle("bfloat16")
    assert (verdict.dtype, verdict.fast, bench.reads) == ("float32", True, 2)
    matches(rf"{AGREE}; it does not run in bfloat16 \(RuntimeError\); float32 {KEEPS}", verdict.why)
    texts = small.random_texts(1, [3, 9, 9, 40])
    rows = bench.rows(body, verdict, texts)
    assert small.distances(rows, small.stock_means(bert, texts)).max() < 1e-9


class Gated(nn.Module):
    """What a layer makes goes into an activation, and beside it: a pass does not show that."""

    def __init__(self, dense: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.dense, self.act = dense, act

    def forward(self, rows: Tensor) -> Tensor:
        made = self.dense(rows)
        found: Tensor = made * self.act(made)
        return found


def gate(model: Any) -> None:
    for layer in model.encoder.layer:
        inner = layer.intermediate
        layer.intermediate = Gated(inner.dense, inner.intermediate_act_fn)


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_a_layer_whose_output_is_used_twice_is_found_out_by_its_vectors(
    wanted: str, bert: Path
) -> None:
    if not fast(wanted):
        pytest.skip("this processor has no packed products in it, so nothing is fused")
    bench = Bench(bert, gate)
    body, verdict = bench.settle(wanted)
    assert (verdict.dtype, verdict.fast) == ("float32", False)
    assert verdict.why.endswith(", less than 0.999999; so it runs in plain float32")
    assert not any(isinstance(module, PackedLinear) for module in body.model.modules())
    texts = small.random_texts(1, [3, 9, 9, 40])
    plain = bench._read()
    alone = Verdict(dtype="float32", packed=False, single=True)
    assert (
        small.distances(bench.rows(body, verdict, texts), bench.rows(plain, alone, texts)).max()
        < 1e-9
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_known_is_not_looked_for_again(dtype: str, bert: Path) -> None:
    first, second = Bench(bert), Bench(bert)
    body, verdict = first.settle(dtype)
    again, known = second.settle(dtype, Trial(known=verdict))
    assert known == verdict
    assert second.reads == 1
    assert len(second.passes) == fast(dtype) < len(first.passes), "one, to see what may be fused"
    assert sum(second.passes) <= packing.TILE
    texts = small.random_texts(1, [3, 9, 9, 40])
    rows = [bench.rows(b, verdict, texts) for bench, b in ((first, body), (second, again))]
    assert (rows[0] == rows[1]).all()


def test_a_known_verdict_is_believed(bert: Path) -> None:
    """Whatever it says: it is of the same content on the same processor."""
    told = Verdict(dtype="bfloat16", packed=False, single=True, why="it was so")
    bench = Bench(bert)
    body, verdict = bench.settle("float32", Trial(known=told))
    assert verdict is told
    assert bench.passes == []
    assert (dtypes(body), body.packed) == ({torch.bfloat16}, False)


def test_the_samples_are_what_is_compared(bert: Path) -> None:
    texts = [[7, 8, 9]] * 3 + [[11] * 77]
    bench = Bench(bert)
    bench.settle("float32", Trial(samples=small.batch(texts)))
    assert bench.passes.count(in_tiles(86)) == 2, "once as it comes, once packed"
    without = Bench(bert)
    without.settle("float32")
    tokens = sum(min(length, 90) for length in precision.SAMPLE_LENGTHS)
    assert without.passes.count(in_tiles(tokens)) == 2


@pytest.mark.parametrize(
    "texts", [[[5] * 97], [[5, small.VOCABULARY]]], ids=["too long", "outside the vocabulary"]
)
def test_samples_that_the_model_cannot_take_are_made_up_for(
    texts: list[list[int]], bert: Path
) -> None:
    _, verdict = Bench(bert, longest=500).settle("float32", Trial(samples=small.batch(texts)))
    assert verdict.cosine == pytest.approx(1)


def test_a_model_of_few_positions_is_tried_with_short_texts(tmp_path: Path) -> None:
    small.build(tmp_path, "bert", max_position_embeddings=20)
    bench = Bench(tmp_path, longest=512)
    _, verdict = bench.settle("bfloat16")
    assert verdict.dtype == "bfloat16"


def test_a_lack_of_memory_is_no_reason_to_take_another_precision(bert: Path) -> None:
    def hungry(model: Any) -> None:
        def take(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            if model.dtype is torch.bfloat16:
                torch.empty(1 << 60)

        model.encoder.register_forward_pre_hook(take)

    bench = Bench(bert, hungry)
    with pytest.raises(RuntimeError, match=r"can't allocate memory|not enough memory"):
        bench.settle("bfloat16")
    assert bench.reads == 1


def test_only_one_of_them_is_in_memory(bert: Path) -> None:
    """What was tried is gone before the model is read anew."""
    seen: list[weakref.ref[Any]] = []

    def watch(model: Any) -> None:
        gc.collect()
        assert not [old for old in seen if old() is not None]
        seen.append(weakref.ref(model))
        wants_float32(model)

    Bench(bert, watch).settle("bfloat16")
    assert len(seen) == 2


def test_weights_take_half_in_bfloat16(tmp_path: Path) -> None:
    folder = small.build(tmp_path, "bert", hidden_size=128, intermediate_size=512)
    taken = {}
    for dtype in ("float32", "bfloat16"):
        loaded = CpuBackend(2, dtype).load(folder, small.manifest(folder))
        assert loaded.facts.verdict.dtype == dtype
        taken[dtype] = loaded.facts.need.weights
    positions = 2 * 96 * 8  # two buffers of int64
    assert taken["float32"] - positions == 2 * (taken["bfloat16"] - positions)


def test_a_load_says_what_it_was_told_before(bert: Path) -> None:
    backend, manifest = CpuBackend(2, "bfloat16"), small.manifest(bert)
    first = backend.load(bert, manifest, Trial(samples=small.batch([[5, 6, 7], [8] * 50])))
    second = backend.load(bert, manifest, Trial(known=first.facts.verdict))
    assert second.facts == first.facts
    told = replace(first.facts.verdict, why="as before")
    assert backend.load(bert, manifest, Trial(known=told)).facts.verdict.why == "as before"


@pytest.mark.parametrize(
    ("rows", "others", "expected"),
    [
        ([[1, 0], [0, 2]], [[3, 0], [0, 5]], 1.0),
        ([[1, 0], [0, 1]], [[1, 0], [1, 1]], 2**-0.5),
        ([[1, 0], [0, 1]], [[1, 0], [0, -1]], -1.0),
        ([[1, 0], [float("nan"), 1]], [[1, 0], [0, 1]], 0.0),
        ([[1, 0], [float("inf"), 1]], [[1, 0], [0, 1]], 0.0),
        ([[1, 0], [0, 0]], [[1, 0], [0, 0]], 1.0),
        ([[1, 0], [0, 0]], [[1, 0], [0, 1]], 0.0),
    ],
)
def test_the_worst_row_counts(
    rows: list[list[float]], others: list[list[float]], expected: float
) -> None:
    found = least_cosine(np.array(rows, np.float32), np.array(others, np.float32))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("lengths", [precision.TRIED, precision.SAMPLE_LENGTHS])
def test_what_a_model_is_tried_with_has_texts_that_are_computed_together(
    lengths: tuple[int, ...],
) -> None:
    assert list(lengths) == sorted(lengths)
    assert sum(length <= short.LONGEST for length in lengths) >= short.FEWEST


def test_so_has_the_text_that_is_compared_even_where_a_token_is_a_byte() -> None:
    special = 2
    sizes = [len(text.encode()) for text in samples.TEXTS]
    assert sum(size + special <= short.LONGEST for size in sizes) >= short.FEWEST
    assert max(sizes) > short.LONGEST
