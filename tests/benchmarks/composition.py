"""How much what shares a batch changes all-MiniLM-L6-v2's vectors, in each dtype.

`python -m tests.benchmarks.composition [SECONDS]`: a thousand texts of every kind in random batches,
for so long per dtype (default 60). `engine/tolerances.py` states what it found.
"""

import random
import sys
import time

import numpy as np

from embedwell import samples
from embedwell.bench.texts import generated
from embedwell.engine.backends import create
from embedwell.engine.distances import distances
from embedwell.engine.tolerances import COMPOSITION
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.encoders import Encoder, Trial, batch_of
from embedwell.interfaces.models import ModelRef
from embedwell.models import manifest
from embedwell.tokenization import tokenizers
from embedwell.verify.comparing import encoded
from embedwell.verify.compositions import alone
from tests.e2e.minilm import package_folder
from tests.e2e.texts import five_hundred

LARGEST = 200  # texts of a batch; most have a few


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    folder = package_folder()
    found = manifest.read(folder)
    tokenizer = tokenizers.load(folder, found)

    def tokenized(*texts: str) -> Tokens:
        return tokenizer.encode(EmbeddingCall(ref=ModelRef("m"), texts=texts, timeout=1))

    tokens, tried = tokenized(*five_hundred(), *generated(500)), tokenized(*samples.TEXTS)
    trial = Trial(samples=batch_of(tried, range(len(tried.lengths))))
    print(f"{'dtype':10}{'batches':>9}{'vectors':>9}{'worst':>9}{'mean':>9}{'tolerance':>11}")
    kept = True
    for dtype, tolerance in COMPOSITION.items():
        encoder = create("cpu", dtype, 0).load(folder, found, trial)
        assert encoder.facts.verdict.dtype == dtype, encoder.facts.verdict.why
        batches, far = mixed(encoder, tokens, seconds)
        kept = kept and bool(far.max() <= tolerance)
        numbers = f"{far.max():9.1e}{far.mean():9.1e}{tolerance:11.0e}"
        print(f"{dtype:10}{batches:9}{len(far):9}{numbers}", flush=True)
    return 0 if kept else 1


def mixed(
    encoder: Encoder, tokens: Tokens, seconds: float
) -> tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """How many batches there were, and each vector's distance to its text's alone."""
    dice, count, parts = random.Random(0), len(tokens.lengths), []
    single = encoded(encoder, tokens, alone(count), lambda done: None, 1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        size = min(LARGEST, 2 + int(2 * dice.paretovariate(0.8)))
        chosen = dice.sample(range(count), size)
        parts.append(distances(encoder.encode(batch_of(tokens, chosen)), single[chosen]))
    return len(parts), np.concatenate(parts)


if __name__ == "__main__":
    sys.exit(main())
