"""The checking process: its answers, its limits, and that none is left behind."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedwell.errors import InvalidModel, OutOfMemory
from embedwell.models import checking
from embedwell.models.checking import Checker
from embedwell.tasks.threads import BoundedThreads
from embedwell.testing import make_model_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model_folder(tmp_path / "model")


@pytest.fixture
def checker() -> Checker:
    return Checker(BoundedThreads(2))


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() == before


def children() -> set[int]:
    """Processes of this one, zombies too."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in found.split()}


async def started() -> int:
    """The process id of a check, once there is one that has begun its work."""
    before = children()
    while not (new := children() - before):
        await asyncio.sleep(0)
    return next(iter(new))


async def test_its_answer_is_the_validator_s(folder: Path, checker: Checker) -> None:
    await checker.check(folder)
    (folder / "modeling.py").touch()
    with pytest.raises(InvalidModel) as caught:
        await checker.check(folder)
    assert (
        caught.value.message
        == "'modeling.py' is not accepted: remove it; no code of a model is run"
    )


async def test_names_that_are_no_options(tmp_path: Path, checker: Checker) -> None:
    await checker.check(make_model_folder(tmp_path / "-h x' \u00e9\n"))


async def test_modules_are_found_as_the_server_finds_them(
    folder: Path, checker: Checker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the folder it is started in nor the environment's own path comes first."""
    (tmp_path / "msgspec.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "msgspec.py"))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    await checker.check(folder)


async def test_secrets_stay_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDWELL_TOKEN", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "secret" not in checking._environment().values()


async def test_at_most_two_at_once(tmp_path: Path, checker: Checker) -> None:
    folders = [make_model_folder(tmp_path / str(i)) for i in range(6)]
    before = children()
    most = 0
    checks = [asyncio.create_task(checker.check(folder)) for folder in folders]
    while not all(task.done() for task in checks):
        await asyncio.sleep(0)
        most = max(most, len(children() - before))
    await asyncio.gather(*checks)
    assert 1 <= most <= 2


async def test_too_much_memory(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = ",".join([f'"{i}":1' for i in range(2_000_000)])
    whole = (folder / "tokenizer.json").read_text()
    start = whole.index('"vocab": {') + len('"vocab": {')
    (folder / "tokenizer.json").write_text(whole[:start] + entries + "," + whole[start:])
    with pytest.raises(InvalidModel, match="more than 1,000,000 entries"):
        await Checker(BoundedThreads(1)).check(folder)
    assert not caplog.text
    checker = Checker(BoundedThreads(1), memory=180_000_000)
    with pytest.raises(InvalidModel) as caught:
        await checker.check(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert caught.value.message == (
        f"The model could not be checked within {61 + size // 10_000_000} seconds and "
        "0.18 GB of memory"
    )
    assert "a model could not be checked" in caplog.text
    assert "MemoryError" in caplog.text


async def test_too_much_time(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checker = Checker(BoundedThreads(1), timeout=0.5)
    check = asyncio.create_task(checker.check(folder))
    os.kill(await started(), signal.SIGSTOP)
    with pytest.raises(InvalidModel, match="could not be checked within 1 seconds and 4 GB"):
        await check
    assert "could not be checked" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU])
async def test_one_that_is_killed(folder: Path, checker: Checker, number: signal.Signals) -> None:
    check = asyncio.create_task(checker.check(folder))
    os.kill(await started(), number)
    with pytest.raises(InvalidModel, match="could not be checked"):
        await check
    await checker.check(folder)


async def test_cancelling_ends_it(folder: Path, checker: Checker) -> None:
    for _ in range(3):
        check = asyncio.create_task(checker.check(folder))
        child = await started()
        os.kill(child, signal.SIGSTOP)  # it cannot end by itself
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check
        assert not Path(f"/proc/{child}").exists()
    await checker.check(folder)  # and gives its turn to the next


async def test_it_ends_with_the_server(folder: Path, tmp_path: Path) -> None:
    """Closing its standard input is what the server's death looks like to it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        "import threading\n"
        "from embedwell.models import checked\n"
        "checked.validate = lambda _: print('begun', flush=True) or threading.Event().wait()\n"
        "checked.main()",
        str(folder), "4000000000", "60",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdin is not None
    await child.stdout.readline()
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 30) == 1


async def test_no_process_can_be_started(
    folder: Path, checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OutOfMemory) as caught:
        await checker.check(folder)
    assert caught.value.message == (f"The model could not be checked: {os.strerror(errno.ENOENT)}")
    assert caught.value.retry_after == 10


async def test_it_starts_quickly_for_it_imports_nothing_heavy() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        "import sys, embedwell.models.checked\n"
        "print(sorted({'torch', 'transformers', 'tokenizers', 'numpy', 'quart', 'asyncio'}"
        " & sys.modules.keys()))",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert (await child.communicate())[0].strip() == b"[]"
