"""Rows to JSON: every float32 comes back exactly."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedwell.http import vectors
from embedwell.interfaces.embedding import Embeddings, Timings

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TIMINGS = Timings(0, 0, 0, 0)


def written(rows: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return b"".join(vectors.floats(rows)).decode()


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_floats_round_trip_as_float32(values: list[float]) -> None:
    rows = np.array([values], np.float32)
    back = np.array(json.loads(written(rows)), np.float64).astype(np.float32)
    assert back.tobytes() == rows[0].tobytes()


def test_a_float_whose_shortest_decimal_is_another_through_float64_comes_back() -> None:
    rows = np.array([[0x15AE43FD]], np.uint32).view(np.float32)  # 7.038531e-26
    (back,) = json.loads(written(rows))
    assert np.float32(float("7.038531e-26")) != rows[0, 0]
    assert np.float32(back) == rows[0, 0]


def test_ordinary_floats_are_short() -> None:
    rows = np.random.default_rng(1).normal(0, 0.05, size=(1, 384)).astype(np.float32)
    longest = max(map(len, written(rows).strip("[]").split(",")))
    assert longest <= len("-0.0000123456789")


def test_a_component_next_to_nothing_makes_no_answer_longer() -> None:
    """all-MiniLM-L6-v2 has two."""
    rows = np.random.default_rng(1).normal(0, 0.05, size=(1, 384)).astype(np.float32)
    rows[0, [127, 223]] = 3e-33, -5e-20
    numbers = written(rows).strip("[]").split(",")
    assert (numbers[127], numbers[223]) == ("3e-33", "-5e-20")
    assert max(map(len, numbers)) <= len("-0.0000123456789")


async def test_a_large_answer_is_one_document_in_order() -> None:
    rows = np.arange(2048 * 64, dtype=np.float32).reshape(2048, 64)
    result = Embeddings(rows, 5, (), TIMINGS, "m")
    told = json.loads(await vectors.write(result, 'a"b', base64_wanted=False))
    assert told["model"] == 'a"b'
    assert [item["index"] for item in told["data"]] == list(range(2048))
    assert [item["embedding"] for item in told["data"]] == rows.tolist()


async def test_rows_of_a_slice_are_written_as_they_are() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)[:, :2]
    result = Embeddings(rows, 1, (), TIMINGS, "m")
    told = json.loads(await vectors.write(result, "m", base64_wanted=True))
    assert len(told["data"][2]["embedding"]) == 12  # eight bytes
