"""The last resort: a process that was told to end, and hangs."""

import subprocess
import sys

from embedwell.process import EXIT_CUT

HANGS = """
import threading
from embedwell.process import SPARE, watchdog
ending = watchdog(0.1 - SPARE)
for _ in range(2):  # by a signal, and by what it leads to
    ending.set()
threading.Event().wait()
"""


def test_a_process_that_hangs_is_ended() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], check=False, timeout=60)
    assert done.returncode == EXIT_CUT
