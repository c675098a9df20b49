"""The plots of an outcome, drawn where matplotlib is installed.

python -m tests.benchmarks.speed.plots docs/benchmarks.json writes *-engines.png and *-servers.png.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.benchmarks.speed.results import Load, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, THEIRS, INK, GRID = "#0b6e99", "#b9c2c9", "#26323a", "#e3e7ea"
LINES = {
    "embedwell bfloat16": OURS,
    "embedwell float32": "#6bb3d1",
    "infinity float32": "#c9772b",
}
DPI = 160
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(outcome: Outcome, stem: Path) -> None:
    """Beside the JSON file."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(STYLE)
    draw_engines(outcome, stem.with_name(f"{stem.name}-engines.png"))
    if outcome.loads:
        draw_servers(outcome, stem.with_name(f"{stem.name}-servers.png"))


def draw_engines(outcome: Outcome, target: Path) -> None:
    """A bar each, the slowest below."""
    from matplotlib import pyplot

    rates = sorted(
        (rate, found.name) for found in outcome.engines if (rate := outcome.rate(found.name))
    )
    figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(rates) + 1.2), layout="constrained")
    names = [name for _, name in rates]
    values = [rate / 1e3 for rate, _ in rates]
    colours = [OURS if name.startswith("ours") else THEIRS for name in names]
    bars = axes.barh(names, values, color=colours, height=0.68)
    labels = axes.bar_label(bars, _labels(outcome, names), padding=5)
    pyplot.setp(labels, backgroundcolor="white")  # grid lines would cross them
    axes.margins(y=0.02)
    axes.set_xlim(0, max(values) * 1.3)
    axes.set_xlabel("thousand tokens per second (times sentence-transformers fp32)")
    _plain(axes, "x")
    axes.set_title(_title(outcome), loc="left", fontsize=11)
    figure.savefig(target, dpi=DPI)
    pyplot.close(figure)


def _labels(outcome: Outcome, names: Sequence[str]) -> list[str]:
    base = outcome.rate("sentence-transformers fp32")
    rates = [outcome.rate(name) or 0.0 for name in names]
    ratios = [f"  ({rate / base:.1f}×)" if base else "" for rate in rates]
    return [f"{rate / 1e3:.1f}{ratio}" for rate, ratio in zip(rates, ratios, strict=True)]


def draw_servers(outcome: Outcome, target: Path) -> None:
    """Throughput and latency against the number of connections."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    loads = [load for load in outcome.loads if load.texts == "all"]
    for name in dict.fromkeys(f"{load.server} {load.precision}" for load in loads):
        own = [load for load in loads if f"{load.server} {load.precision}" == name]
        _line(left, name, own, [load.requests_per_second for load in own])
        _line(right, name, own, [load.p50 for load in own])
    left.set_ylim(bottom=0)
    left.set_ylabel("requests per second, one text each")
    right.set_yscale("log")
    right.yaxis.set_major_formatter("{x:g}")
    right.set_ylabel("p50 latency, ms")
    for axes in (left, right):
        _connections(axes, loads)
    left.legend(frameon=False)
    figure.suptitle(_title(outcome), x=0.01, ha="left", fontsize=11)
    figure.savefig(target, dpi=DPI)
    pyplot.close(figure)


def _line(axes: "Axes", name: str, loads: Sequence[Load], values: Sequence[float]) -> None:
    places = [load.connections for load in loads]
    axes.plot(places, values, marker="o", linewidth=2, color=LINES.get(name, INK), label=name)


def _connections(axes: "Axes", loads: Sequence[Load]) -> None:
    levels = sorted({load.connections for load in loads})
    axes.set_xscale("log", base=2)
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.minorticks_off()
    axes.set_xlabel("connections")
    _plain(axes, "both")


def _plain(axes: "Axes", grid: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis=grid, color=GRID)
    axes.set_axisbelow(True)


def _title(outcome: Outcome) -> str:
    machine = outcome.machine
    return f"all-MiniLM-L6-v2 on {machine.cores} cores: {machine.cpu.partition(' (')[0]}"


def main() -> None:
    """Of the file that is named."""
    source = Path(sys.argv[1])
    draw(msgspec.json.decode(source.read_bytes(), type=Outcome), source.with_suffix(""))


if __name__ == "__main__":
    main()
