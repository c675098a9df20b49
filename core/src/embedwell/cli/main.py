"""Arguments, help, exit codes."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from embedwell import __version__
from embedwell.cli import bench_options, verify_options
from embedwell.cli.output import Plain, complain
from embedwell.cli.values import CONFIG, DATA_DIR
from embedwell.errors import ConfigurationError, EmbedwellError, PluginError

TRACEBACK = "EMBEDWELL_TRACEBACK"
OPTION = re.compile(r"--[a-z-]+")
EXAMPLES = """\
examples:
  embedwell serve                                  as ./config.toml says, else with the defaults
  embedwell serve --port 8123 --data-dir /var/lib/embedwell
  embedwell models                                 what would be served
  embedwell check-config --config config.toml      every fault at once
  embedwell pull BAAI/bge-small-en-v1.5            have a running server download it
  embedwell pull github:owner/repo@v1 --subfolder models/small --name owner/small
  embedwell ps --url http://gpu1:8000              what a server has loaded
  embedwell bench http://localhost:8000/v1         how fast a server is, of any make
  embedwell verify owner/name                      whether a model's vectors are right here

Every setting can come from the environment: EMBEDWELL_SERVER__PORT=8123.
pull, rm and ps ask a running server: --url, else EMBEDWELL_URL, else this machine at server.port;
EMBEDWELL_API_KEY is sent as the key.
exit codes: 0 done, 2 the configuration is wrong, 65 vectors are not what they should be,
            70 something failed, 75 stopped before accepted work was done, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="embedwell",
        description="An OpenAI-compatible embeddings server for your own models.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"embedwell {__version__}")
    commands = root.add_subparsers(dest="command", metavar="command")
    serve = _command(commands, "serve", "run the server until Ctrl-C or SIGTERM")
    models = _command(commands, "models", "list the local models")
    _command(commands, "plugins", "list installed plugins, failed ones too")
    check = _command(commands, "check-config", "check the configuration, name every fault")
    for command in (serve, check):
        command.add_argument(
            "--host", help="address to listen on (default: server.host, 127.0.0.1)"
        )
        command.add_argument(
            "--port", type=int, help="0 takes a free one (default: server.port, 8000)"
        )
    for command in (serve, models, check):
        command.add_argument("--data-dir", metavar="DIR", help=DATA_DIR)
    _add_remote(commands)
    bench_options.add(commands)
    verify_options.add(commands)
    for each in (root, *commands.choices.values()):
        each.set_defaults(parser=each)
    return root


def _add_remote(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    pull = _command(commands, "pull", "have a running server download a model")
    pull.add_argument("tag", help="owner/name[@revision], or github:owner/repo[@revision]")
    pull.add_argument("--subfolder", help="of a GitHub repository: where the model is")
    pull.add_argument("--name", help="of a GitHub model: what it is to be called")
    remove = _command(commands, "rm", "have a running server delete a model")
    remove.add_argument(
        "tag", help="[source:]NAME: all its revisions; NAME@REVISION: only that one"
    )
    loaded = _command(commands, "ps", "list the models that a running server has loaded")
    for command in (pull, remove, loaded):
        command.add_argument("--url", help="of the server (default: EMBEDWELL_URL, else here)")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + "."
    )
    command.add_argument("--config", metavar="FILE", help=CONFIG)
    return command


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits."""
    root = parser()
    arguments, unknown = root.parse_known_args(words)
    if unknown:
        _refuse(arguments.parser, unknown)
    if arguments.command is None:
        root.print_help()
        sys.exit(2)
    if logging.lastResort and TRACEBACK not in os.environ:
        logging.lastResort.setFormatter(Plain())  # until `serve` sets up a log of its own
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        complain("The configuration is wrong:", error.reasons)
        code = 2
    except PluginError as error:
        complain("A plugin cannot be used:", [error.message])
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `embedwell models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        code = _failed(arguments.command, error)
    sys.exit(code)


def _refuse(command: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """By the command that does not know them: argparse shows the usage of the whole instead."""
    options = OPTION.findall(command.format_usage())
    near = [get_close_matches(word.partition("=")[0], options, n=1) for word in unknown]
    hint = next((f"; did you mean {found[0]}?" for found in near if found), "")
    command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _failed(command: str, error: Exception) -> int:
    if os.environ.get(TRACEBACK):
        raise error
    known = isinstance(error, EmbedwellError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    hint = [] if known else [f"set {TRACEBACK}=1 to see where"]
    complain(f"embedwell {command} failed:", [reason, *hint])
    return 70


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "serve":
        from embedwell.cli.serve import run
    elif arguments.command == "models":
        from embedwell.cli.models import run
    elif arguments.command == "plugins":
        from embedwell.cli.plugins import run
    elif arguments.command in ("pull", "rm", "ps"):
        return _run_remote(arguments)
    elif arguments.command == "bench":
        from embedwell.cli.bench import run
    elif arguments.command == "verify":
        from embedwell.cli.verify import run
    else:
        from embedwell.cli.check_config import run
    return run(arguments)


def _run_remote(arguments: argparse.Namespace) -> int:
    if arguments.command == "pull":
        from embedwell.cli.pull import run
    elif arguments.command == "rm":
        from embedwell.cli.rm import run
    else:
        from embedwell.cli.ps import run
    return run(arguments)
