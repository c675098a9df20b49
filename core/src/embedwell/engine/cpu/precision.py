"""In which numbers a model computes: the cheapest that is wanted and keeps its vectors."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from msgspec.structs import replace

from embedwell.engine import encoder, packing, parity
from embedwell.engine.body import Body
from embedwell.engine.cpu import operators, surgery
from embedwell.engine.distances import distances
from embedwell.engine.heads import Heads
from embedwell.engine.memory import is_out_of_memory
from embedwell.engine.tolerances import FLOORS
from embedwell.interfaces.encoders import Batch, EncoderFacts, Trial, Verdict

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# What is tried, in this order; float32 without packed products is what is left.
ORDERS = {
    "auto": ("bfloat16", "float32"),
    "bfloat16": ("bfloat16", "float32"),
    "float32": ("float32",),
}
RECORDED = (3, 5)  # lengths of the texts that a program is made of
TRIED = (2,) * 5 + (5,) * 10 + (8,) * 5 + (13,) * 5  # and tried on: enough to go together
SAMPLE_LENGTHS = (*range(3, 75, 3), 150, 300)  # of the random ids that stand in for texts


class Settling:
    """One load's decision.

    `read` gives the untouched float32 model, anew each time, and `facts` what an encoder of it
    would say of itself under a verdict.
    """

    def __init__(
        self,
        read: Callable[[], Body],
        heads: Heads,
        facts: Callable[[Body, Verdict], EncoderFacts],
        longest: int,
    ) -> None:
        self._read, self._heads, self._facts, self._longest = read, heads, facts, longest

    def settle(self, wanted: str, trial: Trial) -> tuple[Body, Verdict]:
        """The body, ready to run, in the first wanted precision that keeps its vectors.

        Call under inference mode; raises what the model raises on a single text.
        """
        if trial.known is not None:
            return _shaped(self._read(), trial.known), trial.known
        body = self._read()
        plain, samples = self._begun(body, trial.samples)
        exact = self._vectors(body, plain, samples)
        notes = [plain.why]
        if wanted == "auto" and not operators.native_bfloat16():
            wanted = "float32"
            notes.append("this processor has no bfloat16 products")
        for dtype in ORDERS[wanted]:
            verdict = replace(plain, dtype=dtype, fast=operators.usable(DTYPES[dtype]))
            cosine, note = self._compared(body, verdict, samples, exact)
            notes.append(note)
            if cosine >= FLOORS[dtype]:
                return body, replace(verdict, cosine=cosine, why="; ".join(notes))
            del body  # what was replaced stays replaced, and memory holds one of them
            body = self._read()
        notes.append("so it runs in plain float32")
        return _shaped(body, plain), replace(plain, why="; ".join(notes))

    def _begun(self, body: Body, samples: Batch | None) -> tuple[Verdict, Batch]:
        """How the untouched model runs, and what to compare it by."""
        longest = min(self._longest, body.longest or self._longest)
        choice = parity.choose(body, longest)
        if samples is None or not _takes(body, samples):
            samples = parity.batch(body, SAMPLE_LENGTHS, longest)
        plain = Verdict(
            dtype="float32",
            packed=choice.packed,
            single=choice.single,
            deviation=choice.deviation,
            why=choice.why,
        )
        return plain, samples

    def _compared(
        self, body: Body, verdict: Verdict, samples: Batch, exact: "Rows"
    ) -> tuple[float, str]:
        """The least cosine, 0 where it does not run, and what to say of it."""
        try:
            found = self._vectors(_shaped(body, verdict), verdict, samples)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return 0.0, f"it does not run in {verdict.dtype} ({type(error).__name__})"
        cosine, floor = least_cosine(found, exact), FLOORS[verdict.dtype]
        short = "" if cosine >= floor else f", less than {floor:g}"
        return cosine, f"{verdict.dtype} keeps its vectors to a cosine of {cosine:.6f}{short}"

    def _vectors(self, body: Body, verdict: Verdict, samples: Batch) -> "Rows":
        facts = self._facts(body, verdict)
        return encoder.rows(samples, body, self._heads, facts)


def _takes(body: Body, samples: Batch) -> bool:
    """A model may have fewer positions or tokens than its files say: short texts are served yet."""
    try:
        packing.check(samples, body.vocabulary, body.longest)
    except ValueError:
        return False
    return True


def _shaped(body: Body, verdict: Verdict) -> Body:
    """The body, set to run as the verdict says."""
    body.use(verdict.packed)
    dtype = DTYPES[verdict.dtype]
    for parameter in body.model.parameters():  # buffers stay: rotary positions need their digits
        parameter.data = parameter.data.to(dtype)
    if verdict.fast:
        texts = parity.probe(body, SAMPLE_LENGTHS[:2])
        surgery.pack(body.model, lambda: body.rows(texts))
    if verdict.packed:
        body.record(parity.probe(body, RECORDED), parity.probe(body, TRIED))
    return body


def least_cosine(rows: "Rows", others: "Rows") -> float:
    """The smallest cosine of a row to its fellow; 0 where one of them is not finite."""
    if not (np.isfinite(rows).all() and np.isfinite(others).all()):
        return 0.0
    return 1 - float(distances(rows, others).max())
