"""The model, loaded as the server would load it or otherwise, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedwell.config.schema import Engine
from embedwell.errors import OutOfMemory
from embedwell.interfaces.encoders import Backend, DeviceOutOfMemory, Encoder, Trial, Verdict
from embedwell.verify.subject import Subject

# Every text by itself through the model's own attention and layers: transformers as it is.
STOCK = Trial(known=Verdict(dtype="float32", packed=False, single=True, why="untouched"))


class Encoders:
    """Loads in the dtype that the settings ask for, in float32, and untouched; blocks."""

    def __init__(self, engine: Engine) -> None:
        """Cheap; raises ConfigurationError for a device that is not there."""
        self.dtype = engine.dtype
        self._asked, self._float32 = _backend(engine, engine.dtype), _backend(engine, "float32")

    def threads(self, encoder: Encoder) -> int:
        """How many may run its batches."""
        return 1 if encoder.facts.verdict.single else self._asked.side_by_side

    @contextmanager
    def asked(self, subject: Subject) -> Iterator[Encoder]:
        """As the server's first load. Raises InvalidModel, OutOfMemory, as the others do."""
        with _loaded(self._asked, subject, Trial(samples=subject.samples)) as encoder:
            yield encoder

    @contextmanager
    def float32(self, subject: Subject) -> Iterator[Encoder]:
        """The same in float32."""
        with _loaded(self._float32, subject, Trial(samples=subject.samples)) as encoder:
            yield encoder

    @contextmanager
    def stock(self, subject: Subject) -> Iterator[Encoder]:
        """What transformers itself makes of each text alone."""
        with _loaded(self._float32, subject, STOCK) as encoder:
            yield encoder


def _backend(engine: Engine, dtype: str) -> Backend:
    from embedwell.engine import backends

    return backends.create(engine.device, dtype, engine.threads)


@contextmanager
def _loaded(backend: Backend, subject: Subject, trial: Trial) -> Iterator[Encoder]:
    try:
        encoder = backend.load(subject.snapshot.path, subject.manifest, trial)
        try:
            yield encoder
        finally:
            encoder.close()
            backend.forget()
    except DeviceOutOfMemory as error:
        raise OutOfMemory(f"{subject.snapshot.key.name}: {error}: free some memory") from None
