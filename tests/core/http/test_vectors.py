"""Rows to JSON: every float32 comes back exactly."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedwell.http import vectors
from embedwell.interfaces.embedding import Embeddings, Timings

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TIMINGS = Timings(0, 0, 0, 0)


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_floats_round_trip_as_float32(values: list[float]) -> None:
    rows = np.array([values], np.float32)
    text = json.dumps(vectors.short(rows)[0].tolist())
    assert np.array(json.loads(text), np.float32).tolist() == rows[0].tolist()


def test_ordinary_floats_are_short() -> None:
    rows = np.random.default_rng(1).normal(0, 0.05, size=(50, 384)).astype(np.float32)
    longest = max(len(repr(abs(x))) for x in vectors.short(rows).ravel().tolist())
    assert longest <= len("0.0000123456789")
    assert np.array_equal(vectors.short(rows).astype(np.float32), rows)


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
