"""The checks of one model, in order."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedwell import __version__
from embedwell.interfaces.encoders import Encoder, EncoderFacts
from embedwell.verify import peer
from embedwell.verify.comparing import check, distances, encoded
from embedwell.verify.compositions import alone, together
from embedwell.verify.encoders import Encoders
from embedwell.verify.results import Check, Progress, Verification
from embedwell.verify.subject import Subject

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

EXACT = "float32"


def verify(subject: Subject, encoders: Encoders, progress: Progress) -> Verification:
    """Blocks for as long as it takes; one model at a time is in memory.

    Raises InvalidModel, OutOfMemory, ModelError, or whatever the model fails with.
    """
    began = time.monotonic()
    progress.begin("loading the model", 1)
    with encoders.asked(subject) as encoder:
        facts = encoder.facts
        dtype = facts.verdict.dtype
        ours = _alone(subject, encoder, progress, dtype, encoders.threads(encoder))
        checks = [_batches(subject, encoder, ours, progress, encoders.threads(encoder))]
    exact = ours
    if dtype != EXACT:
        with encoders.float32(subject) as encoder:
            exact = _alone(subject, encoder, progress, EXACT, encoders.threads(encoder))
    checks.append(_precision(dtype, ours, exact))
    with encoders.stock(subject) as encoder:
        stock = _alone(subject, encoder, progress, "transformers", encoders.threads(encoder))
    checks.append(_transformers(exact, stock))
    checks.append(_peer(subject, exact, progress))
    return _summary(subject, encoders.dtype, facts, checks, time.monotonic() - began)


def _alone(
    subject: Subject, encoder: Encoder, progress: Progress, what: str, threads: int
) -> "Rows":
    count = len(subject.texts)
    steps = progress.begin(f"{what}: each text alone", count)
    return encoded(encoder, subject.tokens, alone(count), steps, threads)


def _batches(
    subject: Subject, encoder: Encoder, ours: "Rows", progress: Progress, threads: int
) -> Check:
    from embedwell.engine.tolerances import COMPOSITION

    count, dtype = len(subject.texts), encoder.facts.verdict.dtype
    mixtures = together(count)
    steps = progress.begin(f"{dtype}: in batches", count * len(mixtures))
    found = [
        distances(encoded(encoder, subject.tokens, batches, steps, threads), ours)
        for batches in mixtures
    ]
    what = f"{dtype}: in {sum(map(len, mixtures))} batches against alone"
    return check("batches", what, np.max(found, axis=0), COMPOSITION[dtype])


def _precision(dtype: str, ours: "Rows", exact: "Rows") -> Check:
    from embedwell.engine.tolerances import FLOORS

    if dtype == EXACT:
        return Check(name="precision", what="", verdict="skipped", note=f"it computes in {EXACT}")
    return check("precision", f"{dtype} against {EXACT}", distances(ours, exact), 1 - FLOORS[dtype])


def _transformers(exact: "Rows", stock: "Rows") -> Check:
    from embedwell.engine.tolerances import FLOORS

    what = f"our {EXACT} against its stock layers, one by one"
    return check("transformers", what, distances(exact, stock), 1 - FLOORS[EXACT])


def _peer(subject: Subject, exact: "Rows", progress: Progress) -> Check:
    from embedwell.engine.tolerances import FLOORS

    steps = progress.begin(f"{peer.NAME}: each text alone", len(subject.texts))
    what = f"our {EXACT} against its encode(), one by one"
    try:
        rows = peer.vectors(subject.snapshot.path, subject.texts, steps)
    except peer.Absent as error:
        return Check(name=peer.NAME, what=what, verdict="skipped", note=str(error))
    return check(peer.NAME, what, distances(exact, rows), 1 - FLOORS[EXACT])


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
