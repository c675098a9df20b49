"""Loads snapshots on the processor."""

import ctypes
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from embedwell.engine import packing
from embedwell.engine.cpu import threads
from embedwell.engine.cpu.memory import HostMemory
from embedwell.engine.cpu.processors import Allotment, Processors
from embedwell.engine.sizes import ROUGH
from embedwell.errors import InvalidModel
from embedwell.interfaces.caches import Need
from embedwell.interfaces.encoders import (
    UNTRIED,
    DeviceMemory,
    DeviceOutOfMemory,
    Encoder,
    EncoderFacts,
    Trial,
    Verdict,
)
from embedwell.interfaces.models import Manifest

if TYPE_CHECKING:
    from embedwell.engine.body import Body
    from embedwell.engine.heads import Heads

log = logging.getLogger(__name__)
TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
FLOAT = 4  # bytes
BATCH_TOKENS = 2048  # smaller batches are slower, larger ones hardly faster
RELATIVE = ("relative_attention", "relative_attention_num_buckets")  # scores are kept whole


class CpuBackend:
    """The Backend of this machine's processors, of which it uses `thread_count`."""

    device = "cpu"

    def __init__(self, thread_count: int, dtype: str = "auto") -> None:
        """`dtype` is "auto", "float32" or "bfloat16": what models are to compute in."""
        self.dtype = dtype
        self._processors = Processors(thread_count)
        self._memory = HostMemory()

    @property
    def side_by_side(self) -> int:
        """How many batches run at a time: one a processor up to eight, beyond that fewer."""
        return self._processors.side_by_side

    @property
    def memory(self) -> DeviceMemory:
        return self._memory

    def warm(self, model_types: Sequence[str]) -> None:
        """Import torch, transformers and these models' classes; unknown kinds are passed over."""
        from embedwell.engine import transformer

        for model_type in model_types:
            try:
                transformer.model_class(model_type)
            except InvalidModel:
                continue

    def check(self) -> None:
        """A small product; ArithmeticError where it comes out wrong."""
        import torch

        threads.use(1)  # batches may run beside it
        with torch.inference_mode():
            product = torch.ones(8, 64) @ torch.ones(64, 8)
        if not bool((product == 64).all()):
            raise ArithmeticError("the processor's matrix product is wrong")

    def estimate(self, manifest: Manifest) -> Need:
        """Weights as float32, and the activations of what runs side by side, one a long text.

        For T tokens: twelve rows of the hidden size and three of the intermediate one each; where
        scores are kept whole (DeBERTa, MPNet, T5) also four score tables of heads × longest text.
        What oneDNN keeps for all models, half a gigabyte at the most, is left to a safety margin.
        """
        longest = max(BATCH_TOKENS, manifest.max_tokens)
        longest += packing.tail(longest, ROUGH)
        tokens = longest + (self.side_by_side - 1) * BATCH_TOKENS
        row = 12 * manifest.hidden + 3 * manifest.intermediate
        if any(manifest.config.get(key) for key in RELATIVE):
            row += 4 * manifest.heads * manifest.max_tokens
        return Need(manifest.tensors * FLOAT, tokens * row * FLOAT)

    def load(self, path: Path, manifest: Manifest, trial: Trial = UNTRIED) -> Encoder:
        """Raises InvalidModel for a snapshot it cannot serve, DeviceOutOfMemory."""
        threads.use(1)  # the check at load must not take the processors from a batch that runs
        try:
            return self._load(path, manifest, trial)
        except Exception as error:
            log.info("The model in %s was not loaded", path, exc_info=True)
            verdict = _verdict(error)
        raise verdict  # out here it carries no traceback, whose frames would hold the weights

    def _load(self, path: Path, manifest: Manifest, trial: Trial) -> Encoder:
        import torch

        from embedwell.engine import transformer
        from embedwell.engine.body import Body
        from embedwell.engine.cpu.precision import Settling
        from embedwell.engine.encoder import TorchEncoder
        from embedwell.engine.heads import Heads

        heads = Heads(path, manifest)

        def read() -> Body:
            body = Body(transformer.load(path, manifest))
            heads.check(body.hidden, manifest.dimensions)
            return body

        facts_of = partial(self._facts, heads, manifest)
        with torch.inference_mode():
            settling = Settling(read, heads, facts_of, manifest.max_tokens)
            body, verdict = settling.settle(self.dtype, trial)
        facts = facts_of(body, verdict)
        return TorchEncoder(body, heads, facts, Allotment(self._processors).taken)

    def _facts(
        self, heads: "Heads", manifest: Manifest, body: "Body", verdict: Verdict
    ) -> EncoderFacts:
        return EncoderFacts(
            device=self.device,
            dimensions=manifest.dimensions,
            vocabulary=min(manifest.vocabulary, body.vocabulary),
            batch_tokens=BATCH_TOKENS,
            need=replace(self.estimate(manifest), weights=body.bytes + heads.bytes),
            verdict=verdict,
        )

    def forget(self) -> None:
        """Hand free pages back to the system, where its C library can."""
        if TRIM is not None:
            TRIM(ctypes.c_size_t(0))


def _verdict(error: Exception) -> Exception:
    from embedwell.engine.memory import is_out_of_memory

    if isinstance(error, InvalidModel):
        return InvalidModel(error.message)
    if isinstance(error, DeviceOutOfMemory) or is_out_of_memory(error):
        return DeviceOutOfMemory("the model does not fit in memory")
    return InvalidModel(f"It does not run: a trial ended in {type(error).__name__}")
