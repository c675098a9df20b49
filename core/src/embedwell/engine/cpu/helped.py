"""The one thread that other threads help with its products."""

import threading

IN_A_ROW = 8  # texts of one thread with none of another between; a burst reaches two sooner
LATER = 64  # as many where another has help, which then has had no text for that long


class Helped:
    """The first thread to have had some texts one by one, until another has many; under a lock.

    OpenMP keeps the helpers of every thread that ever had some. Once those are more threads than
    processors it puts helpers to sleep after each product, and waking them takes what they save.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None
        self._texts = 0

    def count_caller(self) -> bool:
        """Whether the calling thread is helped; counts the text that it is about to compute."""
        own = threading.current_thread()
        self._texts = self._texts + 1 if own is self._last else 1
        self._last = own
        taken = self._thread is not None and self._thread.is_alive()
        if self._texts > (LATER if taken else IN_A_ROW):
            self._thread = own
        return self._thread is own
