"""A report for people: a table's rows, and what its numbers do not say; pure."""

from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from embedwell.bench.errors import printable
from embedwell.bench.results import Figures, Level, Measured, Report

HEADS = (
    "SERVER", "CONNECTIONS", "REQUESTS/S", "TEXTS/S", "TOKENS/S", "P50 MS", "P95 MS", "P99 MS",
    "MAX MS", "ERRORS", "429", "CLIENT MS", "SPREAD", "TO A",
)  # fmt: skip
LEGEND = (
    "CLIENT MS is what this program spent per answer; SPREAD the distance of the rounds' texts/s, "
    "of their mean;\nTO A is texts/s against server A."
)


def servers(report: Report) -> list[tuple[str, ...]]:
    """Letter, URL, model and what its answers are, for each."""
    return [
        (letter, each.url, printable(each.model), f"{each.dimensions} dimensions, {each.encoding}")
        for letter, each in zip(ascii_uppercase, report.servers, strict=False)
    ]


def rows(report: Report) -> list[tuple[str, ...]]:
    """One per level and server, servers side by side."""
    return [
        _row(letter, level, _first(report.servers, level.concurrency))
        for concurrency in report.settings.concurrency
        for letter, level in _levels(report, concurrency)
    ]


def notes(report: Report) -> list[str]:
    """Every error by kind, and what limits the comparison."""
    found = [
        f"{letter}, {concurrency} connections: {failure.count} × {printable(failure.kind)}"
        + (f": {failure.example}" if failure.example else "")
        for concurrency in report.settings.concurrency
        for letter, level in _levels(report, concurrency)
        for failure in level.figures.failures
    ]
    for letter, each in zip(ascii_uppercase, report.servers, strict=False):
        found += [f"{letter}: {note}" for note in _limits(each, report.settings.encoding)]
    return found


def _limits(server: Measured, encoding: str) -> Iterator[str]:
    if server.repeated:
        yield "the file has too few texts: some were sent again, and a server may remember them"
    if server.encoding != encoding:
        yield f"answers {server.encoding} where {encoding} was asked for"


def _levels(report: Report, concurrency: int) -> Iterator[tuple[str, Level]]:
    for letter, server in zip(ascii_uppercase, report.servers, strict=False):
        yield from ((letter, each) for each in server.levels if each.concurrency == concurrency)


def _first(measured: Sequence[Measured], concurrency: int) -> float:
    levels = (level for level in measured[0].levels if level.concurrency == concurrency)
    return next((level.figures.texts_per_second for level in levels), 0.0)


def _row(letter: str, level: Level, first: float) -> tuple[str, ...]:
    found = level.figures
    return (
        letter,
        str(level.concurrency),
        rate(found.requests_per_second),
        rate(found.texts_per_second),
        "-" if found.tokens_per_second is None else rate(found.tokens_per_second),
        *_latency(found),
        str(found.errors),
        str(found.limited),
        "-" if found.client_cpu_ms is None else f"{found.client_cpu_ms:.3f}",
        _spread([each.texts_per_second for each in level.rounds]),
        f"{found.texts_per_second / first:.2f}" if first else "-",
    )


def _latency(found: Figures) -> tuple[str, ...]:
    spans = found.latency_ms
    if spans is None:
        return ("-",) * 4
    return tuple(map(milliseconds, (spans.p50, spans.p95, spans.p99, spans.max)))


def _spread(rates: Sequence[float]) -> str:
    mean = sum(rates) / len(rates)
    return f"{100 * (max(rates) - min(rates)) / mean:.0f} %" if len(rates) > 1 and mean else "-"


def rate(per_second: float) -> str:
    """As exact as people read it: 12,345 or 67.8."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.1f}"


def milliseconds(span: float) -> str:
    """The same for spans: 12.3 or 4.56."""
    return f"{span:.1f}" if span >= 10 else f"{span:.2f}"
