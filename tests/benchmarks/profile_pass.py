"""Where a forward pass spends its time: operators of one thread, milliseconds a batch.

    python -m tests.benchmarks.profile_pass [TEXTS] [DTYPE]

Batches of TEXTS (16) generated texts through all-MiniLM-L6-v2 in DTYPE (bfloat16); how many tokens a
second one thread makes of them, then what it does meanwhile.
"""

import random
import sys
import time
from collections.abc import Sequence

from torch.profiler import ProfilerActivity, profile

from embedwell import samples
from embedwell.bench.texts import generated
from embedwell.engine.backends import create
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.encoders import Batch, Encoder, Trial, batch_of
from embedwell.interfaces.models import ModelRef
from embedwell.models import manifest
from embedwell.tokenization import tokenizers
from tests.e2e.minilm import package_folder

BATCHES, SHOWN = 40, 16


def main() -> None:
    texts = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    dtype = sys.argv[2] if len(sys.argv) > 2 else "bfloat16"
    folder = package_folder()
    found = manifest.read(folder)
    tokenizer = tokenizers.load(folder, found)

    def tokenized(given: Sequence[str]) -> Tokens:
        return tokenizer.encode(EmbeddingCall(ref=ModelRef("m"), texts=tuple(given), timeout=1))

    tokens, tried = tokenized(generated(2_000)), tokenized(samples.TEXTS)
    trial = Trial(samples=batch_of(tried, range(len(tried.lengths))))
    encoder = create("cpu", dtype, 1).load(folder, found, trial)
    dice = random.Random(0)
    show(encoder, [batch_of(tokens, dice.sample(range(2_000), texts)) for _ in range(BATCHES)])


def show(encoder: Encoder, batches: Sequence[Batch]) -> None:
    run(encoder, batches)  # products get their code
    began = time.thread_time()
    run(encoder, batches)
    seconds = time.thread_time() - began
    tokens = sum(sum(batch.lengths) for batch in batches)
    print(f"{encoder.facts.verdict.dtype}, {tokens / len(batches):.0f} tokens a batch: ", end="")
    print(f"{seconds / len(batches) * 1e3:.1f} ms, {tokens / seconds:,.0f} tokens/s of one thread")
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        run(encoder, batches)
    rows = sorted(watched.key_averages(), key=lambda row: -row.self_cpu_time_total)
    whole = sum(row.self_cpu_time_total for row in rows)
    for row in rows[:SHOWN]:
        own = row.self_cpu_time_total
        calls = row.count / len(batches)
        print(
            f"{own / len(batches) / 1e3:8.2f} ms {own / whole:5.0%} {calls:6.0f} calls  {row.key}"
        )


def run(encoder: Encoder, batches: Sequence[Batch]) -> None:
    for batch in batches:
        encoder.encode(batch)


if __name__ == "__main__":
    main()
