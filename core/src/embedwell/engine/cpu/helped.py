"""The one thread that other threads help with its products."""

import threading

IN_A_ROW = 8  # texts of one thread with none of another between; a burst reaches two sooner


class Helped:
    """The first thread to have had some texts one by one, until it ends; asked under a lock.

    OpenMP keeps the helpers of every thread that ever had some. Once those are more threads than
    processors it puts helpers to sleep after each product, and waking them takes what they save.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._texts = 0

    def count_caller(self) -> bool:
        """Whether the calling thread is helped; counts the text that it is about to compute."""
        own = threading.current_thread()
        if self._thread is not own and not self._is_settled():
            self._thread, self._texts = own, 0
        self._texts += self._thread is own
        return self._thread is own and self._is_settled()

    def _is_settled(self) -> bool:
        alive = self._thread is not None and self._thread.is_alive()
        return alive and self._texts > IN_A_ROW
