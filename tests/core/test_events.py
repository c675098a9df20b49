"""Observers are isolated."""

import logging

import pytest

from embedwell.events import Events
from embedwell.interfaces.events import Event, WorkerReplaced


def test_one_that_raises_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events, seen = Events(), list[Event]()

    def broken(event: Event) -> None:
        raise ValueError("observer")

    events.add("broken", broken)
    events.add("good", seen.append)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            events.emit(WorkerReplaced(at=1.0, device="cpu", lost=1))
    assert len(seen) == 3
    assert events.failures == {"broken": 3}
    assert len(caplog.records) == 1
