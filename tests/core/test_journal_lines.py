"""What an operator reads of a load."""

import logging

import pytest

from embedwell import journal
from embedwell.interfaces.events import ModelLoaded

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("weights", "measured", "taken"),
    [
        (45_100_000, 198_000_000, "45 MB (198 MB with its largest batches)"),
        (1_340_000_000, 2_000_000_000, "1.34 GB (2.00 GB with its largest batches)"),
    ],
)
def test_a_load_takes_what_ps_shows_and_its_batches(
    caplog: pytest.LogCaptureFixture, weights: int, measured: int, taken: str
) -> None:
    key = f"upload:owner/name@{DIGEST}"
    with caplog.at_level(logging.INFO, logger="embedwell"):
        journal.write(
            ModelLoaded(
                at=0,
                model="owner/name",
                key=key,
                seconds=0.44,
                estimated=1,
                measured=measured,
                weights=weights,
            )
        )
    assert caplog.messages == [f"loaded upload:owner/name@0123456789ab in 0.4 s, {taken}"]
