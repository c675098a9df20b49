"""The checks of one model, in order."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from embedwell import __version__
from embedwell.interfaces.encoders import Encoder, EncoderFacts
from embedwell.verify import peer
from embedwell.verify.comparing import check, encoded
from embedwell.verify.compositions import Batches, alone, together
from embedwell.verify.encoders import Encoders
from embedwell.verify.results import Check, Progress, Verification
from embedwell.verify.subject import Subject

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

EXACT = "float32"
Load: TypeAlias = Callable[[Subject], AbstractContextManager[Encoder]]


def verify(subject: Subject, encoders: Encoders, progress: Progress) -> Verification:
    """Blocks for as long as it takes; one model at a time is in memory.

    Raises InvalidModel, OutOfMemory, ModelError, or whatever the model fails with.
    """
    began = time.monotonic()
    runs = _Runs(subject, encoders, progress)
    with runs.loaded(encoders.asked, "the model") as encoder:
        facts = encoder.facts
        dtype = facts.verdict.dtype
        ours = runs.alone(encoder, dtype)
        checks = [_batches(runs, encoder, ours)]
    exact = ours
    if dtype != EXACT:
        with runs.loaded(encoders.float32, f"the model in {EXACT}") as encoder:
            exact = runs.alone(encoder, EXACT)
    checks.append(_precision(dtype, ours, exact))
    with runs.loaded(encoders.stock, "the model as transformers has it") as encoder:
        stock = runs.alone(encoder, "transformers")
    checks.append(_transformers(exact, stock))
    checks.append(_peer(subject, exact, progress))
    return _summary(subject, encoders.dtype, facts, checks, time.monotonic() - began)


class _Runs:
    """The subject's texts through one model after the other; each part is announced."""

    def __init__(self, subject: Subject, encoders: Encoders, progress: Progress) -> None:
        self._subject, self._encoders, self._progress = subject, encoders, progress
        self.count = len(subject.texts)

    @contextmanager
    def loaded(self, load: Load, what: str) -> Iterator[Encoder]:
        step = self._progress.begin(f"loading {what}", 1)
        with load(self._subject) as encoder:
            step(1)
            yield encoder

    def alone(self, encoder: Encoder, what: str) -> "Rows":
        (rows,) = self.batches(encoder, f"{what}: each text alone", [alone(self.count)])
        return rows

    def batches(self, encoder: Encoder, what: str, mixtures: Sequence[Batches]) -> Iterator["Rows"]:
        """Rows in the texts' order, one set for each of the mixtures."""
        step = self._progress.begin(what, self.count * len(mixtures))
        tokens, threads = self._subject.tokens, self._encoders.threads(encoder)
        return (encoded(encoder, tokens, batches, step, threads) for batches in mixtures)


def _batches(runs: _Runs, encoder: Encoder, ours: "Rows") -> Check:
    from embedwell.engine.distances import distances
    from embedwell.engine.tolerances import COMPOSITION

    mixtures, dtype = together(runs.count), encoder.facts.verdict.dtype
    found = [
        distances(rows, ours) for rows in runs.batches(encoder, f"{dtype}: in batches", mixtures)
    ]
    what = f"{dtype}: in {sum(map(len, mixtures))} batches against alone"
    return check("batches", what, np.max(found, axis=0), COMPOSITION[dtype])


def _against(name: str, what: str, rows: "Rows", others: "Rows", dtype: str = EXACT) -> Check:
    """Whether they are as near as two kinds of computing in this dtype are to be."""
    from embedwell.engine.distances import distances
    from embedwell.engine.tolerances import FLOORS

    return check(name, what, distances(rows, others), 1 - FLOORS[dtype])


def _precision(dtype: str, ours: "Rows", exact: "Rows") -> Check:
    if dtype == EXACT:
        return Check(name="precision", what="", verdict="skipped", note=f"it computes in {EXACT}")
    return _against("precision", f"{dtype} against {EXACT}", ours, exact, dtype)


def _transformers(exact: "Rows", stock: "Rows") -> Check:
    what = f"our {EXACT} against its stock layers, one by one"
    return _against("transformers", what, exact, stock)


def _peer(subject: Subject, exact: "Rows", progress: Progress) -> Check:
    steps = progress.begin(f"{peer.NAME}: each text alone", len(subject.texts))
    what = f"our {EXACT} against its encode(), one by one"
    try:
        rows = peer.vectors(subject.snapshot.path, subject.texts, steps)
    except peer.Absent as error:
        return Check(name=peer.NAME, what=what, verdict="skipped", note=str(error))
    return _against(peer.NAME, what, exact, rows)


def _summary(
    subject: Subject, asked: str, facts: EncoderFacts, checks: Sequence[Check], seconds: float
) -> Verification:
    key, verdict = subject.snapshot.key, facts.verdict
    return Verification(
        format=1,
        embedwell=__version__,
        model=key.name,
        source=key.source,
        revision=key.revision,
        device=facts.device,
        asked=asked,
        dtype=verdict.dtype,
        packed=verdict.packed,
        fast=verdict.fast,
        why=verdict.why,
        texts=len(subject.texts),
        tokens=subject.tokens.total,
        seconds=seconds,
        checks=checks,
    )
