"""`embedwell bench`: what servers do under load, as a table and as JSON."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TextIO

from embedwell import __version__, loops
from embedwell.bench import probe, report
from embedwell.bench.machine import machine
from embedwell.bench.results import Report, Settings
from embedwell.bench.supply import Form, Generated, Listed, Supply, Texts
from embedwell.bench.sweep import Server, sweep
from embedwell.bench.texts import read
from embedwell.cli.bench_options import KEY, MOST_SERVERS
from embedwell.cli.bench_progress import BenchProgress
from embedwell.cli.output import complain, table, tell
from embedwell.errors import Invalid


def run(arguments: argparse.Namespace) -> int:
    """Raises Unmeasurable or Invalid before anything is measured; Ctrl-C shows what was."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    _check(arguments)
    settings = _settings(arguments)
    texts = Listed(read(arguments.texts), arguments.unique) if arguments.texts else Generated()
    progress = BenchProgress()
    with asyncio.Runner(loop_factory=loops.factory()) as runner:
        name = loops.library(runner.get_loop())
        try:
            servers = runner.run(_meet(arguments, texts, settings, progress))
            interrupted = _swept(runner, servers, settings, progress)
        finally:
            progress.end()
    found = _report(
        arguments, settings, started=started, loop=name, servers=servers, interrupted=interrupted
    )
    tell(found, arguments.json, partial(_show, found))
    return 130 if interrupted else _unanswered(found)


def _check(arguments: argparse.Namespace) -> None:
    if len(arguments.urls) > MOST_SERVERS:
        arguments.refuse(f"at most {MOST_SERVERS} URLs")
    if len(arguments.model) not in (0, 1, len(arguments.urls)):
        arguments.refuse("give --model once, or once for each URL")
    if arguments.unique and not arguments.texts:
        arguments.refuse("--unique is for --texts: generated texts are distinct")


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        texts=arguments.texts.name if arguments.texts else None,
        unique=arguments.unique,
        per_request=arguments.per_request,
        concurrency=arguments.concurrency,
        seconds=arguments.seconds,
        warmup=arguments.warmup,
        rounds=arguments.rounds,
        encoding=arguments.encoding,
        timeout=arguments.timeout,
    )


async def _meet(
    arguments: argparse.Namespace, texts: Texts, settings: Settings, progress: BenchProgress
) -> list[Server]:
    key = _key(arguments)
    models = arguments.model if len(arguments.model) > 1 else arguments.model * len(arguments.urls)
    servers = []
    for place, target in enumerate(arguments.urls):
        progress.asking(target.url)
        timeout = settings.timeout
        model = models[place] if models else await probe.first_model(target, key, timeout)
        form = Form(target, key, model, settings.encoding, settings.per_request)
        servers.append(Server(Supply(form, texts), await probe.facts(form, timeout)))
    return servers


def _key(arguments: argparse.Namespace) -> str:
    key: str = arguments.api_key or os.environ.get("EMBEDWELL_API_KEY", "").strip()
    if key and not KEY.fullmatch(key):
        raise Invalid("EMBEDWELL_API_KEY has characters that no key may have")
    return key


def _swept(
    runner: asyncio.Runner,
    servers: Sequence[Server],
    settings: Settings,
    progress: BenchProgress,
) -> bool:
    try:
        runner.run(sweep(servers, settings, progress))
    except KeyboardInterrupt:
        if not any(server.windows for server in servers):
            raise
        return True
    return False


def _report(
    arguments: argparse.Namespace,
    settings: Settings,
    *,
    started: str,
    loop: str,
    servers: Sequence[Server],
    interrupted: bool,
) -> Report:
    key = _key(arguments)
    return Report(
        format=1,
        started=started,
        embedwell=__version__,
        machine=machine(),
        loop=loop,
        command=tuple(word.replace(key, "***") if key else word for word in sys.argv[1:]),
        settings=settings,
        interrupted=interrupted,
        servers=tuple(server.measured() for server in servers),
    )


def _show(found: Report, stream: TextIO) -> None:
    print(table(("", "SERVER", "MODEL", "ANSWERS"), report.servers(found)), file=stream)
    print(file=stream)
    print(table(report.HEADS, report.rows(found)), file=stream)
    print(report.LEGEND, file=stream)
    for note in report.notes(found):
        print(note, file=stream)


def _unanswered(found: Report) -> int:
    dead = [
        server.url for server in found.servers if not all(e.figures.requests for e in server.levels)
    ]
    if dead:
        complain("Without one right answer at some level:", dead)
    return 70 if dead else 0
