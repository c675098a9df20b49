"""An outcome as tables: the same on a terminal and in the document."""

from collections.abc import Iterator, Sequence
from statistics import median

from tests.benchmarks.engines.catalogue import BASELINE
from tests.benchmarks.speed.goals import GOALS, Goal
from tests.benchmarks.speed.results import Found, Outcome

Cells = Sequence[str]
NONE = "–"
TOLERABLE = 0.05  # of the processors, for other processes
WORDS = {True: "reached", False: "missed", None: "not measured"}


def aligned(head: Cells, rows: Sequence[Cells]) -> Iterator[str]:
    """A Markdown table whose columns stand under each other; all but the first to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    yield _line(head, widths)
    yield "|".join(["", f"{'-' * (widths[0] + 2)}", *(f"{'-' * (w + 1)}:" for w in widths[1:]), ""])
    for row in rows:
        yield _line(row, widths)


def _line(cells: Cells, widths: Sequence[int]) -> str:
    padded = [cells[0].ljust(widths[0])]
    padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join(padded)} |"


def disturbed(outcome: Outcome) -> str:
    """How much was taken from those that were measured, and what that means."""
    said = f"Other processes used {outcome.others:.0%} of the processors meanwhile"
    if outcome.others <= TOLERABLE:
        return f"{said}."
    return (
        f"**{said}: the figures are too low and not comparable. Run it again on a quiet machine.**"
    )


def number(value: float | None, form: str = ",.0f") -> str:
    """A dash for what was not measured."""
    return NONE if value is None else format(value, form)


def engines(outcome: Outcome) -> list[str]:
    """Those that ran; the reasons of the others follow below."""
    judged = any(found.correlation is not None for found in outcome.engines)
    head = [
        "engine", "tokens/s", "texts/s", "× ours fp32", "× st fp32", "of limit", "cosine mean",
        "cosine min", "1 short text, ms", "peak MB",
    ]  # fmt: skip
    rows = [_engine(found, outcome) for found in outcome.engines if found.seconds]
    if judged:
        head.append("Spearman")
        found_rows = [found for found in outcome.engines if found.seconds]
        rows = [
            [*row, number(found.correlation, ".4f")]
            for row, found in zip(rows, found_rows, strict=True)
        ]
    missing = [
        f"* {found.name}: not available: {found.missing}"
        for found in outcome.engines
        if found.missing
    ]
    return [*aligned(head, rows), *([""] if missing else []), *missing]


def _engine(found: Found, outcome: Outcome) -> list[str]:
    rate = outcome.rate(found.name)
    ours, base = outcome.rate("ours fp32"), outcome.rate(BASELINE)
    limit = outcome.share(found.name) if found.name.startswith("ours") else None
    return [
        found.name,
        number(rate),
        number(outcome.texts.count / found.typical),
        number(rate / ours if rate and ours else None, ".2f"),
        number(rate / base if rate and base else None, ".2f"),
        number(limit, ".0%"),
        number(found.cosine_mean, ".5f"),
        number(found.cosine_min, ".5f"),
        number(median(found.alone) * 1e3 if found.alone else None, ".2f"),
        number(found.peak / 1e6),
    ]


def servers(outcome: Outcome) -> list[str]:
    """A row for each server, kind of texts and number of connections."""
    head = [
        "server", "texts", "connections", "requests/s", "tokens/s", "p50 ms", "p99 ms", "errors",
        "client core-ms",
    ]  # fmt: skip
    rows = [
        [
            f"{load.server} {load.precision}", load.texts, str(load.connections),
            number(load.requests_per_second, ",.1f"), number(load.tokens_per_second),
            number(load.p50, ".1f"), number(load.p99, ".1f"), str(load.errors),
            number(load.client_cpu_ms, ".3f"),
        ]
        for load in outcome.loads
    ]  # fmt: skip
    missing = [f"* {name}: not available: {reason}" for name, reason in outcome.absent.items()]
    return [*aligned(head, rows), *([""] if missing else []), *missing]


def goals(outcome: Outcome) -> list[str]:
    """Every figure to reach."""
    rows = [_goal(goal, outcome) for goal in GOALS]
    return [*aligned(["work", "figure", "to reach", "measured", ""], rows)]


def _goal(goal: Goal, outcome: Outcome) -> list[str]:
    sign = "≤" if goal.at_most else "≥"
    return [
        goal.work,
        goal.what,
        f"{sign} {number(goal.needed, goal.form)}",
        number(goal.value(outcome), goal.form),
        WORDS[goal.reached(outcome)],
    ]


def costs(outcome: Outcome) -> list[str]:
    """Time and memory at each number of texts."""
    rows = [
        [cost.name, f"{cost.texts:,}", f"{cost.seconds_per_token * 1e6:.2f}", f"{cost.resident / 1e6:,.0f}"]
        for cost in outcome.costs
    ]  # fmt: skip
    return [*aligned(["engine", "texts", "µs a token", "resident MB"], rows)]
