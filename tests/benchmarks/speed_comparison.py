"""Our CPU engine and server beside what else PyPI has, on this machine.

`make bench` runs it from the repository's root; it writes docs/benchmarks.md, .json and .png files,
for the texts of a file docs/benchmarks-<file's name>.*. Ctrl-C leaves nothing running.
"""

import argparse
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from embedwell.errors import Invalid
from tests.benchmarks.speed import model, tables, texts
from tests.benchmarks.speed.document import document
from tests.benchmarks.speed.results import Outcome
from tests.benchmarks.speed.run import PYTHONS, Order, Run

NAME = "benchmarks"
MOST_ROUNDS = 20
UNSAFE = r"[^A-Za-z0-9._-]+"  # in a link


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 130 after Ctrl-C."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what runs, as Ctrl-C does
    try:
        with tempfile.TemporaryDirectory(prefix="embedwell-bench-") as room:
            outcome = Run(order(options), Path(room)).outcome()
        publish(outcome, options.output, name_of(options.texts))
    except KeyboardInterrupt:
        print("Interrupted: nothing runs any more, and nothing was written.", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Ends the process with 2 where the command line is wrong."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--texts", type=Path, metavar="FILE", help=".txt, .jsonl, .csv, .tsv; else generated ones")
    add("--rounds", type=_rounds, default=3, metavar="N", help="of every engine (default 3)")
    add("--full", action="store_true", help="also 100,000 texts through each engine of ours")
    add("--output", type=Path, default=Path("docs"), metavar="DIR", help="(default docs)")
    options = parser.parse_args(arguments)
    try:
        options.chosen, options.model = texts.chosen(options.texts), model.folder()
    except (Invalid, LookupError) as error:
        parser.error(str(error))
    return options


def _rounds(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"say a number from 1 to {MOST_ROUNDS}")
    return int(word)


def order(options: argparse.Namespace) -> Order:
    """What to compare, and how a reader repeats it."""
    given = [f"TEXTS={shlex.quote(options.texts.name)}"] if options.texts else []
    given += ["FULL=1"] if options.full else []
    return Order(
        file=options.texts,
        texts=options.chosen,
        model=options.model,
        rounds=options.rounds,
        full=options.full,
        command=" ".join(["make bench", *given]),
    )


def name_of(file: Path | None) -> str:
    """Of the files that are written."""
    return NAME if file is None else f"{NAME}-{re.sub(UNSAFE, '-', file.stem)}"


def publish(outcome: Outcome, folder: Path, name: str) -> None:
    """The tables on the terminal, and all the files."""
    shown = (tables.engines, tables.servers, tables.costs, tables.goals)
    print("\n\n".join("\n".join(table(outcome)) for table in shown))
    print(f"\n{tables.disturbed(outcome)}")
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.json"
    data.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1))
    (folder / f"{name}.md").write_text(document(outcome, name))
    subprocess.run([PYTHONS["rival"], "-m", "tests.benchmarks.speed.plots", data], check=True)
    print(f"\nWritten: {folder}/{name}.md, .json and .png")


if __name__ == "__main__":
    sys.exit(main())
