"""`embedwell verify`: a model's vectors against what they should be."""

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TextIO

from msgspec.structs import replace

from embedwell.bench.texts import generated, read
from embedwell.cli.output import paint, table, tell
from embedwell.cli.setup import prepare
from embedwell.cli.verify_progress import VerifyProgress
from embedwell.errors import InvalidModel, ModelNotFound, NotFound
from embedwell.samples import TEXTS

if TYPE_CHECKING:
    from embedwell.verify.results import Check, Verification

DIFFERS = 65  # a vector is further away than its tolerance
HEADS = ("CHECK", "WHAT", "WORST", "MEAN", "TOLERANCE", "VERDICT")


def run(arguments: argparse.Namespace) -> int:
    """Raises what stands in the way of a check: an unknown tag, a model that cannot be loaded."""
    texts = _texts(arguments)
    progress = VerifyProgress()
    try:
        found = _verified(arguments, texts, progress)
    except ModelNotFound as error:
        raise NotFound(error.message.replace("GET /models ", "`embedwell models` ")) from None
    except InvalidModel as error:
        raise InvalidModel(f"{arguments.tag}: {error.message}") from None
    finally:
        progress.end()
    tell(found, arguments.json, partial(_show, found, texts))
    return 0 if found.holds else DIFFERS


def _texts(arguments: argparse.Namespace) -> Sequence[str]:
    count: int = arguments.count
    own = read(arguments.texts) if arguments.texts else generated(count)
    return [*islice(dict.fromkeys((*TEXTS, *own)), count)]


def _verified(
    arguments: argparse.Namespace, texts: Sequence[str], progress: VerifyProgress
) -> "Verification":
    config, plugins = prepare(arguments)
    from embedwell.verify import subject
    from embedwell.verify.encoders import Encoders
    from embedwell.verify.verification import verify

    engine = replace(config.engine, dtype=arguments.dtype or config.engine.dtype)
    encoders = Encoders(engine)
    finding = subject.find(config, plugins, arguments.tag, texts, progress.fetching)
    return verify(asyncio.run(finding), encoders, progress)


def _show(found: "Verification", texts: Sequence[str], stream: TextIO) -> None:
    way = "packed" if found.packed else "padded or one by one"
    print(f"{found.source}:{found.model}@{found.revision}", file=stream)
    print(f"computes in {found.dtype} on {found.device}, {way}: {found.why}", file=stream)
    print(table(HEADS, [*map(_row, found.checks)]), file=stream)
    print("WORST, MEAN and TOLERANCE are distances of vectors: 1 - cosine", file=stream)
    for check in found.checks:
        if check.note:
            print(f"{check.name}: {check.note}", file=stream)
        if check.verdict == "differs":
            print(f"{check.name} is worst for {texts[check.text or 0][:60]!r}", file=stream)
    amount = f"{found.texts} texts, {found.tokens:,} tokens, {found.seconds:.1f} s"
    print(f"{_verdict(found, stream)}  {amount}", file=stream)


def _verdict(found: "Verification", stream: TextIO) -> str:
    said = paint("holds", "green", stream) if found.holds else paint("differs", "red", stream)
    skipped = sum(check.verdict == "skipped" for check in found.checks)
    return f"{said}, {skipped} of {len(found.checks)} skipped" if skipped else said


def _row(check: "Check") -> tuple[str, ...]:
    numbers = (check.worst, check.mean, check.tolerance)
    shown = ("-" if number is None else f"{number:.1e}" for number in numbers)
    return (check.name, check.what or "-", *shown, check.verdict)
