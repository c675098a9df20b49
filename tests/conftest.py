"""Signals as a terminal has them, and no test that a busy machine fails."""

import signal

from hypothesis import settings

settings.register_profile("embedwell", deadline=None)
settings.load_profile("embedwell")


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
