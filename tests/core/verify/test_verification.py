"""What the checks say of an engine that is wrong in one way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedwell.bench.texts import generated
from embedwell.config.schema import Config, Engine, Server, Sources
from embedwell.interfaces.encoders import Batch, Encoder, EncoderFacts
from embedwell.interfaces.models import ModelRef
from embedwell.loader.load import load
from embedwell.verify.encoders import Encoders
from embedwell.verify.subject import Subject, find
from embedwell.verify.verification import verify
from tests.core.verify.models import small_model

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

FLOAT32 = Engine(device="cpu", dtype="float32", threads=1)


class Told:
    """What was announced, and how far each part came."""

    def __init__(self) -> None:
        self.parts: dict[str, list[int]] = {}

    def begin(self, what: str, total: int) -> Any:
        part = self.parts[what] = [0, total]

        def step(count: int) -> None:
            part[0] += count

        return step


class Leaking:
    """Adds something of the batch's last text to all of them."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def facts(self) -> EncoderFacts:
        return self._encoder.facts

    def encode(self, batch: Batch) -> "Rows":
        rows = self._encoder.encode(batch)
        rows += rows[-1] / 50
        return rows

    def close(self) -> None:
        self._encoder.close()


class Leak(Encoders):
    @contextmanager
    def asked(self, subject: Subject) -> Iterator[Encoder]:
        with super().asked(subject) as encoder:
            yield Leaking(encoder)


@pytest.fixture
async def subject(tmp_path: Path) -> Subject:
    small_model(tmp_path / "runs" / "near")
    tables: dict[str, dict[str, Any]] = {
        "training": {"directory": str(tmp_path / "runs"), "settle_seconds": 0},
        "huggingface": {"download": "never"},
    }
    config = Config(server=Server(data_dir=str(tmp_path / "data")), sources=Sources(tables=tables))
    return await find(config, load(config), ModelRef("near"), generated(20), lambda task: None)


def test_a_batch_that_changes_its_texts_is_found(subject: Subject) -> None:
    found = verify(subject, Leak(FLOAT32), Told())
    batches, *others = found.checks
    assert (batches.name, batches.verdict) == ("batches", "differs")
    assert batches.worst is not None
    assert batches.worst > 1e-5
    assert not found.holds
    assert all(check.verdict != "differs" for check in others)


def test_each_load_is_announced_and_everything_ends(subject: Subject) -> None:
    told = Told()
    verify(subject, Encoders(Engine(device="cpu", dtype="bfloat16", threads=1)), told)
    assert all(done == total for what, (done, total) in told.parts.items() if ": each" in what)
    assert {what: part for what, part in told.parts.items() if what.startswith("loading")} == {
        "loading the model": [1, 1],
        "loading the model in float32": [1, 1],
        "loading the model as transformers has it": [1, 1],
    }
