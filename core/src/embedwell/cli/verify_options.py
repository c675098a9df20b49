"""What `embedwell verify` takes, each value within its bounds."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from embedwell.cli.values import CONFIG, DATA_DIR, output, within

if TYPE_CHECKING:
    from embedwell.interfaces.models import ModelRef

MOST = 20_000  # texts
EXAMPLES = """\
examples:
  embedwell verify sentence-transformers/all-MiniLM-L6-v2
  embedwell verify owner/name --dtype bfloat16 --texts questions.jsonl --count 1000
  embedwell verify owner/name@revision --json report.json

Checks, each by the largest distance (1 - cosine) of a text's vector:
  batches                a text's vector is the same whatever shares its batch
  precision              the dtype that the server would choose here, against float32
  transformers           our float32, against transformers' own layers, one text at a time
  sentence-transformers  our float32, against that library where it is installed

Models are found, and downloaded, as the server would do it; a server may be running meanwhile.
exit codes: 0 all checks hold, 2 the command line or the configuration is wrong,
            65 a vector is further away than its tolerance, 70 the model cannot be checked
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command with all its options."""
    summary = "prove that a model's vectors are what they should be on this machine"
    command = commands.add_parser(
        "verify",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("tag", type=_ref, metavar="TAG", help="[source:]name[@revision]")
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        help="to compute in (default: engine.dtype of the configuration)",
    )
    add(
        "--texts",
        type=Path,
        metavar="FILE",
        help=".txt, .jsonl, .csv or .tsv (default: generated, 3 to 120 words)",
    )
    add(
        "--count",
        type=within(int, 1, MOST),
        default=200,
        metavar="N",
        help="texts to check with, a few that are built in included (default 200)",
    )
    add("--json", type=output, metavar="FILE", help="write all figures there; - is stdout")
    add("--config", metavar="FILE", help=CONFIG)
    add("--data-dir", metavar="DIR", help=DATA_DIR)


def _ref(word: str) -> "ModelRef":
    from embedwell.errors import Invalid
    from embedwell.models import tag

    try:
        return tag.parse(word)
    except Invalid as error:
        raise argparse.ArgumentTypeError(error.message) from None
