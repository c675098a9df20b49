"""The small product that proves the device, as a piece of work."""

import asyncio
from collections.abc import Callable


class Probe:
    """`proof` ends when the device has done it, or with what went wrong; on the loop."""

    def __init__(self, check: Callable[[], None], proof: "asyncio.Future[None]") -> None:
        self._check = check
        self.proof = proof
        self.offered = False

    def perform(self) -> None:
        self._check()

    def settle(self, error: Exception | None) -> None:
        if self.proof.done():
            return
        if error is None:
            self.proof.set_result(None)
        else:
            self.proof.set_exception(error)
            self.proof.exception()  # nobody may be waiting any more
