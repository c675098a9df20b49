"""Signals as a terminal has them."""

import signal


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
