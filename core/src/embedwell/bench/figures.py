"""From what was seen to the figures of a report; pure."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from embedwell.bench.results import Failure, Figures, Latency
from embedwell.bench.window import Seen


class Checked(Struct, frozen=True):
    """A window whose samples were read; `wrong` names what was wrong, by place in the arrays."""

    seen: Seen
    checked: int
    wrong: dict[int, str]


def figures(windows: Sequence[Checked], texts: int) -> Figures:
    """Those of all windows together, with so many texts in a request."""
    seconds = sum(window.seen.closed - window.seen.opened for window in windows) / 1e9
    answers = sum(1 for window in windows for _ in _inside(window))
    stated = sum(window.seen.tokens[place] for window in windows for place in _inside(window))
    spans = sorted(_spans(windows))
    failures = _failures(windows)
    return Figures(
        seconds=seconds,
        requests=len(spans),
        requests_per_second=answers / seconds,
        texts_per_second=answers * texts / seconds,
        tokens_per_second=stated / seconds if stated else None,
        latency_ms=_latency(spans) if spans else None,
        errors=sum(failure.count for failure in failures),
        failures=failures,
        limited=sum(window.seen.limited for window in windows),
        checked=sum(window.checked for window in windows),
        client_cpu_ms=_client(windows, answers),
    )


def _latency(spans: Sequence[int]) -> Latency:
    ranks = [math.ceil(share * len(spans)) - 1 for share in (0.5, 0.95, 0.99, 1.0)]
    return Latency(*(spans[rank] / 1e6 for rank in ranks))


def _right(window: Checked) -> Iterator[int]:
    return (place for place in range(len(window.seen.begun)) if place not in window.wrong)


def _inside(window: Checked) -> Iterator[int]:
    return (place for place in _right(window) if window.seen.ended[place] <= window.seen.closed)


def _spans(windows: Sequence[Checked]) -> Iterator[int]:
    for window in windows:
        begun, ended = window.seen.begun, window.seen.ended
        yield from (ended[place] - begun[place] for place in _right(window))


def _failures(windows: Sequence[Checked]) -> tuple[Failure, ...]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for window in windows:
        counts.update(window.seen.failures)
        counts.update(f"wrong answer: {reason}" for reason in window.wrong.values())
        examples = window.seen.examples | examples
    return tuple(Failure(kind, n, examples.get(kind, "")) for kind, n in counts.most_common())


def _client(windows: Sequence[Checked], answers: int) -> float | None:
    return sum(window.seen.cpu for window in windows) / answers / 1e6 if answers else None
