"""docs/benchmarks.md: what ran where, the tables, and which figures were reached."""

from tests.benchmarks.speed import tables
from tests.benchmarks.speed.results import Outcome

HEAD = """\
# Benchmarks

Written by `make bench`, never by hand. **Last run: {started}**, {minutes:.0f} minutes, with
`{command}`.

* Machine: {cpu}, {cores} cores, {memory:.0f} GB, {system}; {flags}.
* Texts: {count:,} distinct ones, {source}: {tokens:,} tokens of the model's tokeniser, special
  ones too, {mean:.0f} on average, {longest} at the most.
* {others}
* Model: all-MiniLM-L6-v2, {flops:.1f} MFLOP of matrix products a token.
* Versions: Python {python}; {versions}.
"""
HOW = """\
Every engine runs in a process of its own, with as many threads as there are cores, and takes texts
to float32 rows: tokenising is in it for all. Rounds are run in turn, one engine at a time; a figure
is the median of its rounds ({rounds}). "Of limit" is the share of the rate that torch's best linear
reaches here at the model's own shapes ({limits}). Cosines are to sentence-transformers fp32.
"""
SERVED = """\
One text a request, answers in base64, client and server on the same cores; infinity runs its torch
engine with the defaults for a CPU. "short" are texts of about 12 tokens.
"""
GROWN = """\
In requests of 1,000 texts, after 4,000 others. "Resident" is the most there was after any request;
for the smaller number those 4,000 are among them.
"""
REACH = """\
The absolute rates were set for two Zen 5 cores; the ratios hold for any machine with bf16 products.
"""


def document(outcome: Outcome, name: str) -> str:
    """Markdown; plots are expected beside it, as `name`-engines.png and `name`-servers.png."""
    parts = [
        _head(outcome), "## Engines", _how(outcome), _text(tables.engines(outcome)),
        f"![Engines compared]({name}-engines.png)", "## How each was set up", _setups(outcome),
        "## Servers", SERVED, _text(tables.servers(outcome)),
        *([f"![Servers under load]({name}-servers.png)"] if outcome.loads else []),
        *(["## Cost against work", GROWN, _text(tables.costs(outcome))] if outcome.costs else []),
        "## The figures to reach", REACH, _text(tables.goals(outcome)),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _head(outcome: Outcome) -> str:
    machine, texts = outcome.machine, outcome.texts
    return HEAD.format(
        started=outcome.started,
        minutes=outcome.seconds / 60,
        command=outcome.command,
        cpu=machine.cpu,
        cores=machine.cores,
        memory=machine.memory / 1e9,
        system=machine.system,
        flags=", ".join(machine.flags) or "none of the flags that matter",
        count=texts.count,
        source=texts.source,
        tokens=texts.tokens,
        mean=texts.tokens / texts.count,
        longest=texts.longest,
        flops=outcome.flops_per_token / 1e6,
        others=tables.disturbed(outcome),
        python=machine.python,
        versions=", ".join(f"{name} {value}" for name, value in sorted(outcome.versions.items())),
    )


def _how(outcome: Outcome) -> str:
    rounds = max((len(found.seconds) for found in outcome.engines), default=0)
    limits = ", ".join(f"{name} {value:,.0f} GFLOP/s" for name, value in outcome.limits.items())
    return HOW.format(rounds=rounds, limits=limits)


def _setups(outcome: Outcome) -> str:
    return "\n".join(f"* {found.name}: {found.setup}." for found in outcome.engines)


def _text(lines: list[str]) -> str:
    return "\n".join(lines)
