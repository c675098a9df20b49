"""The texts that servers are measured with: generated, or of a file."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import msgspec

from embedwell.bench.words import LINKING, TELLING
from embedwell.errors import Invalid

SHORTEST, LONGEST = 3, 120  # words of a generated text
SKEW = (0.9, 2.7)  # of a beta distribution: a mean of about 43 WordPiece tokens
UNLIKELY = 80  # characters; longer ones do not come twice, and millions need not be remembered
LARGEST_FILE = 256_000_000  # bytes
KINDS = (".txt", ".jsonl", ".csv", ".tsv")


class Row(msgspec.Struct):
    """A line of a .jsonl file; other fields are ignored."""

    text: str
    title: str | None = None


def generated(count: int, seed: int = 0) -> list[str]:
    """`count` distinct texts, the same for the same seed; more of them begin with the same ones.

    3 to 120 words, mostly short: a mean of about 43 WordPiece tokens of all-MiniLM-L6-v2.
    """
    return list(islice(endless(seed), count))


def endless(seed: int = 0) -> Iterator[str]:
    """What `generated` takes its texts from."""
    random = Random(seed)  # noqa: S311 - the same texts again are the point
    seen: set[str] = set()
    while True:
        text = _text(random)
        if len(text) > UNLIKELY:
            yield text
        elif text not in seen:
            seen.add(text)
            yield text


def read(path: Path) -> list[str]:
    """The distinct texts of a file, in its order; raises Invalid for one that has none.

    .txt has a text a line; .jsonl an object a line, with "text" and perhaps "title" before it; of
    .csv and .tsv every cell that is no number is a text.
    """
    try:
        content = _content(path)
        texts = list(dict.fromkeys(text for text in _texts(path.suffix, content) if text))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Invalid(f"{path.name} cannot be read: {reason}") from None
    if not texts:
        raise Invalid(f"{path.name} has no texts")
    return texts


def _text(random: Random) -> str:
    count = SHORTEST + round((LONGEST - SHORTEST) * random.betavariate(*SKEW))
    words = [random.choice(LINKING if random.random() < 0.45 else TELLING) for _ in range(count)]
    for place in range(7, count - 3, random.randint(8, 15)):
        words[place] += random.choice(",,,.;:")
    words[0] = words[0][0].upper() + words[0][1:]
    return " ".join(words) + random.choice("..?!")


def _content(path: Path) -> str:
    size = path.stat().st_size  # first: the kind of a file that is not there does not matter
    if path.suffix not in KINDS:
        raise Invalid(f"{path.name}: cannot read texts of this kind: give {', '.join(KINDS)}")
    if size > LARGEST_FILE:
        raise Invalid(
            f"{path.name} is larger than {LARGEST_FILE // 1_000_000} MB: give a part of it"
        )
    return path.read_text("utf-8-sig")


def _texts(suffix: str, content: str) -> Iterator[str]:
    if suffix == ".txt":
        return (line.strip() for line in content.split("\n"))
    if suffix == ".jsonl":
        lines = enumerate(content.split("\n"), 1)
        return (_of_row(line, number) for number, line in lines if line.strip())
    rows = csv.reader(io.StringIO(content), delimiter="," if suffix == ".csv" else "\t")
    return (cell.strip() for row in rows for cell in row if not _numeric(cell))


def _of_row(line: str, number: int) -> str:
    try:
        row = msgspec.json.decode(line, type=Row)
    except msgspec.DecodeError:
        raise Invalid(f'line {number} is no JSON object with a "text": {line[:80]}') from None
    return f"{row.title or ''} {row.text}".strip()


def _numeric(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
