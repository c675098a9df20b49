"""What `embedwell bench` takes, each value within its bounds."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from embedwell.cli.values import output, within

if TYPE_CHECKING:
    from embedwell.bench.target import Target

KEY = re.compile(r"[\x21-\x7e]{1,4096}")
MOST_SERVERS = 16
EXAMPLES = """\
examples:
  embedwell bench http://localhost:8000/v1
  embedwell bench http://localhost:8000/v1 http://localhost:7997/v1 --rounds 3
  embedwell bench http://localhost:8000/v1 http://gpu1/v1 --model small --model owner/small
  embedwell bench http://localhost:8000/v1 --concurrency 32 --seconds 20 --json report.json
  embedwell bench http://localhost:8000/v1 --texts abstracts.jsonl --per-request 16

Each connection has one request in flight, and every request has texts of its own, the same in the
same order for every server. Of several servers, each is measured in turn at every level. Run this
where the server is not short of processors, or read CLIENT MS: what the client itself spends.
exit codes: 0 measured, 2 the command line is wrong, 70 a server cannot be measured,
            130 interrupted: what was measured so far is shown
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command with all its options."""
    summary = "measure servers that speak OpenAI's embeddings API, side by side"
    command = commands.add_parser(
        "bench",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(refuse=command.error)  # for options that are wrong only together
    command.add_argument(
        "urls", nargs="+", type=_url, metavar="URL", help="http://HOST:PORT or .../v1"
    )
    _add_questions(command)
    _add_load(command)
    command.add_argument(
        "--json", type=output, metavar="FILE", help="write all figures there; - is stdout"
    )


def _add_questions(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--model",
        action="append",
        type=_model,
        default=[],
        help="for all, or once per URL (default: the first that the server lists)",
    )
    add(
        "--api-key", type=_key, metavar="KEY", help="sent to every URL (default: EMBEDWELL_API_KEY)"
    )
    add(
        "--texts",
        type=Path,
        metavar="FILE",
        help=".txt, .jsonl, .csv or .tsv (default: generated, 3 to 120 words)",
    )
    add(
        "--unique",
        action="store_true",
        help="number the texts of a file that are sent again, so that none is the same",
    )
    add(
        "--per-request",
        type=within(int, 1, 2048),
        default=1,
        metavar="N",
        help="texts in a request (default 1)",
    )
    add("--encoding", choices=("base64", "float"), default="base64",
        help="of the vectors (default base64, which the openai package asks for)")  # fmt: skip


def _add_load(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--concurrency",
        "--connections",
        type=_levels,
        default=(1, 4, 16, 32),
        metavar="N,N,...",
        help="connections, level by level (default 1,4,16,32)",
    )
    add(
        "--seconds",
        type=within(float, 0.1, 3600),
        default=5.0,
        metavar="S",
        help="measured per level (default 5)",
    )
    add(
        "--warmup",
        type=within(float, 0.1, 600),
        default=1.0,
        metavar="S",
        help="before each of them (default 1)",
    )
    add(
        "--rounds",
        type=within(int, 1, 100),
        default=1,
        metavar="N",
        help="times that every level is measured (default 1)",
    )
    add("--timeout", type=within(float, 0.1, 3600), default=60.0, metavar="S",
        help="for one answer (default 60)")  # fmt: skip


def _levels(words: str) -> tuple[int, ...]:
    levels = tuple(within(int, 1, 1024)(word) for word in words.split(",")[:17])
    if len(levels) > 16 or len(set(levels)) < len(levels):
        raise argparse.ArgumentTypeError("say at most 16 levels, each once")
    return levels


def _url(word: str) -> "Target":
    from embedwell.bench.target import target
    from embedwell.errors import Invalid

    try:
        return target(word)
    except Invalid as error:
        raise argparse.ArgumentTypeError(error.message) from None


def _model(word: str) -> str:
    if not 1 <= len(word) <= 200:
        raise argparse.ArgumentTypeError("say a model's name, of at most 200 characters")
    return word


def _key(word: str) -> str:
    if not KEY.fullmatch(word):
        raise argparse.ArgumentTypeError("the key has characters that no key may have")
    return word
