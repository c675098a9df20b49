"""What commands print: tables, reasons, colours where they are welcome."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in a colour on a terminal, as it is anywhere else or with NO_COLOR set."""
    stream = stream or sys.stdout
    if not stream.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m"


def complain(title: str, reasons: Sequence[str]) -> None:
    """Every reason on a line of its own, to stderr."""
    print(paint(title, "red", sys.stderr), file=sys.stderr)
    for reason in reasons:
        print(f"  {reason}", file=sys.stderr)


class Plain(logging.Formatter):
    """A record as a line: its message, and of an exception what it is rather than where."""

    def format(self, record: logging.LogRecord) -> str:
        said, error = record.getMessage(), record.exc_info and record.exc_info[1]
        whole = f"{said}: {type(error).__name__}: {error}" if error else said
        return " ".join(whole.split())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns as wide as they need to be."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
    return "\n".join([paint(lines[0], "bold"), *lines[1:]])


def tell(found: msgspec.Struct, path: str | None, show: Callable[[TextIO], None]) -> None:
    """Shows what was found, and writes it as JSON where `--json` says; "-" is stdout, alone."""
    stream = sys.stderr if path == "-" else sys.stdout
    show(stream)
    if path is None:
        return
    content = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    if path == "-":
        sys.stdout.write(content)
    else:
        Path(path).write_text(content)
        print(f"all figures: {path}", file=stream)
