"""How the check at load decides, and what it says of its decision."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from embedwell.engine import packing, parity, transformer
from embedwell.engine.body import Body
from embedwell.engine.cpu.backend import CpuBackend
from tests.core.engine import small_models as small


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def body(folder: Path, kind: str, **changes: Any) -> Body:
    small.build(folder, kind, **changes)
    return Body(transformer.load(folder, small.manifest(folder)))


def test_the_model_is_left_set_to_the_chosen_way(tmp_path: Path) -> None:
    bert = body(tmp_path / "bert", "bert")
    assert parity.choose(bert, 90).packed
    assert bert.packed
    assert bert.model.config._attn_implementation == "embedwell_packed"
    mpnet = body(tmp_path / "mpnet", "mpnet")
    assert not parity.choose(mpnet, 90).packed
    assert not mpnet.packed
    assert mpnet.model.config._attn_implementation != "embedwell_packed"


def test_a_model_that_agrees_reports_how_well(tmp_path: Path) -> None:
    choice = parity.choose(body(tmp_path, "bert"), 90)
    assert choice.deviation is not None
    assert 0 <= choice.deviation < 1e-9


def test_a_model_that_differs_reports_how_much(tmp_path: Path) -> None:
    choice = parity.choose(body(tmp_path, "mpnet"), 90)
    assert choice.deviation is not None
    assert choice.deviation > parity.MAX_DISTANCE
    assert choice.why == "packed and single texts differ"


def test_a_model_that_differs_gets_no_long_row(tmp_path: Path) -> None:
    """Its memory may grow with the square of the row."""
    mpnet = body(tmp_path, "mpnet")
    sizes: list[int] = []
    mpnet.model.get_input_embeddings().register_forward_hook(
        lambda module, inputs, output: sizes.append(inputs[0].numel())
    )
    parity.choose(mpnet, 90)
    widest = max(parity.SHORT) + packing.tail(max(parity.SHORT))
    assert max(sizes) <= len(parity.SHORT) * widest


def test_a_bias_of_its_own_is_not_packed(tmp_path: Path) -> None:
    choice = parity.choose(body(tmp_path, "t5"), 90)
    assert (choice.packed, choice.deviation) == (False, None)
    assert "bias" in choice.why


@pytest.mark.parametrize("error", [AssertionError, NotImplementedError, ValueError])
def test_a_model_that_refuses_a_packed_row_runs_padded(
    tmp_path: Path, error: type[Exception]
) -> None:
    bert = body(tmp_path, "bert")

    def refuses(module: object, given: object) -> None:
        if bert.packed:
            raise error

    bert.model.register_forward_pre_hook(refuses)
    choice = parity.choose(bert, 90)
    assert (choice.packed, choice.single) == (False, False)
    assert choice.why == f"it refuses a packed row ({error.__name__})"


def test_running_out_of_memory_is_no_refusal(tmp_path: Path) -> None:
    bert = body(tmp_path, "bert")

    def full(module: object, given: object) -> None:
        if bert.packed:
            raise MemoryError

    bert.model.register_forward_pre_hook(full)
    with pytest.raises(MemoryError):
        parity.choose(bert, 90)


def test_where_padding_changes_vectors_texts_run_alone(tmp_path: Path) -> None:
    choice = parity.choose(body(tmp_path, "mobilebert"), 90)
    assert choice.single
    assert "padding changes vectors" in choice.why


def test_broken_weights_never_count_as_agreement(tmp_path: Path) -> None:
    broken = body(tmp_path, "bert")
    broken.model.get_parameter("encoder.layer.0.output.dense.weight").fill_(float("nan"))
    assert not parity.choose(broken, 90).packed


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_positions_that_depend_on_the_batch_run_alone(tmp_path: Path, kind: str, key: str) -> None:
    rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 10000.0}
    rope |= {"original_max_position_embeddings": 64} if kind == "longrope" else {}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4} if kind == "longrope" else {}
    choice = parity.choose(body(tmp_path, "llama", **{key: rope}), 90)
    assert choice.single
    assert kind in choice.why


def probe_lengths(folder: Path, kind: str, longest: int, **changes: Any) -> tuple[list[int], str]:
    lengths, checked, note = parity._long_probe(body(folder, kind, **changes), longest)
    assert checked <= len(lengths)
    return lengths, note


def test_the_probe_is_longer_than_the_position_table(tmp_path: Path) -> None:
    lengths, note = probe_lengths(tmp_path, "bert", 90)
    assert sum(lengths) > 96
    assert not note


def test_the_probe_is_longer_than_the_window(tmp_path: Path) -> None:
    lengths, note = probe_lengths(tmp_path, "mistral", 90)
    assert max(lengths) > 24
    assert not note


def test_a_window_beyond_the_check_is_said(tmp_path: Path) -> None:
    changes = {"sliding_window": 4096, "max_position_embeddings": 9000}
    lengths, note = probe_lengths(tmp_path, "mistral", 8192, **changes)
    assert sum(lengths) <= parity.PROBE_TOKENS
    assert "4096" in note


def test_the_probe_keeps_to_short_models(tmp_path: Path) -> None:
    lengths, _ = probe_lengths(tmp_path, "bert", 5)
    assert max(lengths) == 5
    assert parity.choose(body(tmp_path, "bert"), 5).packed


def test_probe_ids_avoid_special_tokens() -> None:
    config = {"pad_token_id": 90, "eos_token_id": [91, 92], "bos_token_id": None}
    ordinary = parity._ordinary(100, config).tolist()
    assert ordinary == [i for i in range(25, 100) if i not in (90, 91, 92)]
    assert parity._ordinary(1, {"pad_token_id": 0}).tolist() == [0]


def test_dynamic_positions_do_not_remember_a_longer_text(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    small.build(tmp_path, "llama", max_position_embeddings=32, rope_parameters=rope)
    encoder = CpuBackend(2, "float32").load(tmp_path, small.manifest(tmp_path))
    assert encoder.facts.verdict.single
    text, longer = small.random_texts(1, [40, 90])
    alone = encoder.encode(small.batch([text]))
    encoder.encode(small.batch([longer]))
    assert (encoder.encode(small.batch([text])) == alone).all()
