"""Tell servers of another Python to stop, whatever they are at.

    python -m tests.faults.stopping PYTHON [PYTHON ...]

Makes an environment of each interpreter, installs the core, a cache and the upload source (no
torch), and runs every case of `stops.py` there, one after the other. Prints what each took; exits
non-zero where a server did not end in time, lost accepted work, or took new work.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.child import ROOT
from tests.faults.stops import CASES, stopped

PARTS = ("core[testing]", "caches/fixed", "sources/upload")
SLACK = 2.0  # seconds


def environment(python: str, folder: Path) -> str:
    """An interpreter that has what a server needs."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    made = str(folder / "bin" / "python")
    packages = [f"{ROOT}/{part}" for part in PARTS]
    pip = [made, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *packages], check=True)
    return made


async def check(python: str, folder: Path) -> int:
    """How many cases failed."""
    failed = 0
    for number, name in enumerate(CASES):
        try:
            seconds = await stopped(name, folder / str(number), python, SLACK)
        except (AssertionError, TimeoutError, EOFError, OSError) as error:
            failed += 1
            print(f"  {name}: FAILED: {error!r}", flush=True)
        else:
            print(f"  {name}: ended {seconds:.1f} s later", flush=True)
    return failed


def main() -> None:
    failed = 0
    for python in sys.argv[1:]:
        shown = subprocess.run([python, "--version"], check=True, capture_output=True, text=True)
        print(shown.stdout.strip(), flush=True)
        with tempfile.TemporaryDirectory() as place:
            made = environment(python, Path(place) / "venv")
            failed += asyncio.run(check(made, Path(place)))
    print("good" if not failed else f"{failed} FAILED")
    sys.exit(1 if failed or not sys.argv[1:] else 0)


if __name__ == "__main__":
    main()
