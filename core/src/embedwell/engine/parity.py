"""Whether a model may run packed: measured at load, not looked up.

A few texts of random ids run packed with our attention, and one by one with the model's own.
Some are longer than its sliding windows, and together they are longer than its position table,
as far as PROBE_TOKENS allows: longer windows and tables stay unchecked, and `why` says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from torch import Tensor

from embedwell.engine.attention import Unpackable
from embedwell.engine.body import Body
from embedwell.engine.distances import distances
from embedwell.engine.memory import is_out_of_memory
from embedwell.engine.packing import Group, Ids
from embedwell.interfaces.encoders import Batch

PROBE_TOKENS = 4096
SHORT = (3, 8, 8, 17, 31)
FILLER = 61
MAX_DISTANCE = 1e-6  # 1 − cosine of a token's row; honest rounding stays below 1e-9
MAX_ERROR = 1e-3  # of any element, against the text's largest


class Choice(Struct, frozen=True):
    """How a model runs and why; `deviation` is the largest 1 − cosine of any token's row."""

    packed: bool
    why: str
    deviation: float | None = None
    single: bool = False


class Comparison(Struct, frozen=True):
    """The largest 1 − cosine of a token's row, and the largest error of an element, relative."""

    distance: float
    error: float

    @property
    def equal(self) -> bool:
        return self.distance <= MAX_DISTANCE and self.error <= MAX_ERROR


def choose(body: Body, longest: int) -> Choice:
    """Decide how `body` runs and leave it set so; no text of the check is longer than `longest`.

    Call under inference mode. Raises whatever the model raises on a single text.
    """
    alone = _needs_single(body.model.config.to_dict())
    if alone:
        _run(body, probe(body, [min(8, longest)]), packed=False)
        return Choice(False, alone, single=True)
    result, note = _check_packed(body, longest)
    if result is not None and result.equal:
        body.use(packed=True)
        return Choice(True, f"packed and single texts agree{note}", result.distance)
    why = "packed and single texts differ" if result else note
    deviation = result.distance if result else None
    padded = compare(body, _short(longest), packed=False)
    body.use(packed=False)
    if padded.equal:
        return Choice(False, why, deviation)
    return Choice(False, f"{why}, and padding changes vectors", deviation, single=True)


def compare(
    body: Body, lengths: Sequence[int], *, packed: bool, checked: int | None = None
) -> Comparison:
    """Together, packed or padded, against one by one: the first `checked` of some random texts.

    Leaves the body set to either way. Raises Unpackable where it cannot run packed at all.
    """
    texts = probe(body, lengths)
    together = _packed_rows(body, texts) if packed else _run(body, texts, packed=False)
    starts = np.cumsum([0, *lengths])
    pairs = []
    for i in range(checked or len(lengths)):
        own = slice(starts[i], starts[i + 1])
        alone = Group(texts.ids[own], (lengths[i],), (0,))
        pairs.append((together[own], _run(body, alone, packed=False)))
    worst = np.max([(_distance(*p), _error(*p)) for p in pairs], axis=0)  # NaN stays NaN
    return Comparison(float(worst[0]), float(worst[1]))


def _check_packed(body: Body, longest: int) -> tuple[Comparison | None, str]:
    """The comparison, if any, and a note: what stayed unchecked, or why there is none.

    A short row goes first: models that ignore packing may take memory by the row's square.
    """
    try:
        short = compare(body, _short(longest), packed=True)
        lengths, checked, note = _long_probe(body, longest)
        if not short.equal or len(lengths) == len(SHORT):
            return short, note
        return compare(body, lengths, packed=True, checked=checked), note
    except Unpackable as error:
        return None, str(error)


def _packed_rows(body: Body, texts: Group) -> Tensor:
    try:
        return _run(body, texts, packed=True)
    except Unpackable:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise Unpackable(f"it refuses a packed row ({type(error).__name__})") from None


def _short(longest: int) -> list[int]:
    return [min(length, longest) for length in SHORT]


def _run(body: Body, group: Group, packed: bool) -> Tensor:
    body.use(packed)
    return body.rows(group).end_to_end()


def _distance(one: Tensor, other: Tensor) -> float:
    return float(distances(one.numpy(), other.numpy()).max())


def _error(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def probe(body: Body, lengths: Sequence[int]) -> Group:
    """Distinct random ids, the same for the same model, special tokens avoided where possible."""
    allowed = _ordinary(body.vocabulary, body.model.config.to_dict())
    ids = np.random.default_rng(0).choice(allowed, sum(lengths))
    return Group(ids, tuple(lengths), (0,) * len(lengths))


def batch(body: Body, lengths: Sequence[int], longest: int) -> Batch:
    """The same as a batch, no text longer than `longest`."""
    texts = probe(body, [min(length, longest) for length in lengths])
    return Batch(texts.ids.astype("<i4").tobytes(), texts.lengths, texts.skips)


def _ordinary(vocabulary: int, config: Mapping[str, Any]) -> Ids:
    special = {
        token
        for key, value in config.items()
        if key.endswith("token_id")
        for token in (value if isinstance(value, list) else [value])
        if isinstance(token, int)
    }
    upper = np.arange(vocabulary // 4, vocabulary, dtype=np.int64)
    ordinary = upper[~np.isin(upper, list(special))]
    return ordinary if len(ordinary) else np.arange(vocabulary, dtype=np.int64)


def _long_probe(body: Body, longest: int) -> tuple[list[int], int, str]:
    """Lengths of the probe, how many of them to compare, and what stays unchecked."""
    lengths = _short(longest)
    window = max(_windows(body.model.config.to_dict()), default=0)
    note = ""
    if 0 < window < longest:
        beyond = min(window + window // 4 + 9, longest)
        if beyond + sum(lengths) <= PROBE_TOKENS:
            lengths.append(beyond)
        else:
            note = f"; the window of {window} tokens is beyond the check's {PROBE_TOKENS}"
    checked = len(lengths)
    table = body.longest or 0
    if sum(lengths) <= table + 2 < PROBE_TOKENS - FILLER:
        count = (table + 2 - sum(lengths)) // FILLER + 1
        lengths += [min(FILLER, longest)] * (count * FILLER // min(FILLER, longest) + 1)
    return lengths, checked, note


def _windows(config: Mapping[str, Any]) -> list[int]:
    values = [config.get(key) for key in ("sliding_window", "local_attention")]
    return [value for value in values if isinstance(value, int)]


def _needs_single(config: Mapping[str, Any]) -> str:
    """Why batch mates would change a text's vector, by configuration; empty where they do not."""
    if config.get("token_dropout"):
        return "its token dropout scales by the whole batch"
    kinds = _rope_types(config.get("rope_parameters")) | _rope_types(config.get("rope_scaling"))
    for kind in ("dynamic", "longrope"):
        if kind in kinds:
            return f"its {kind} positions depend on the longest text of the batch"
    return ""


def _rope_types(parameters: object) -> set[str]:
    if not isinstance(parameters, dict):
        return set()
    own = {str(parameters[key]) for key in ("rope_type", "type") if key in parameters}
    return own.union(*(_rope_types(value) for value in parameters.values()))
