"""`python -m embedwell_plugin_auth new NAME`: a key, and what the configuration has of it."""

import argparse
import sys
from collections.abc import Sequence

from embedwell_plugin_auth.config import NAME, SCOPES
from embedwell_plugin_auth.digests import new_key, written

TEXT = """\
The key, which is not kept and cannot be shown again:

    {key}

For config.toml, where only its digest is kept:

    [plugins.auth.keys.{name}]
    key = "{digest}"
    scopes = [{scopes}]
"""


def main(words: Sequence[str] | None = None) -> None:
    """Writes to stdout; exits with 2 for arguments that are none."""
    arguments = _parser().parse_args(words)
    key = new_key()
    scopes = ", ".join(f'"{scope}"' for scope in arguments.scopes)
    told = TEXT.format(key=key, name=arguments.name, digest=written(key), scopes=scopes)
    sys.stdout.write(told)


def _parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m embedwell_plugin_auth", description="API keys for Embedwell."
    )
    commands = root.add_subparsers(dest="command", metavar="command", required=True)
    new = commands.add_parser("new", help="make a key")
    new.add_argument("name", type=_name, help="whose it is, for the log and the metrics")
    new.add_argument(
        "--scopes", nargs="+", choices=SCOPES, default=["embed"], help="default: embed"
    )
    return root


def _name(word: str) -> str:
    if not NAME.fullmatch(word):
        raise argparse.ArgumentTypeError("use letters, digits, - and _, at most 64")
    return word


if __name__ == "__main__":
    main()
