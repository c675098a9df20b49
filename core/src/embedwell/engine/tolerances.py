"""How far vectors may be from what they should be, by the numbers a model computes in.

Distances are 1 − cosine. No text may be further away than this, in whichever batch; `embedwell
verify` tells whether a model keeps to it.
"""

# The least cosine of a text's vector to the untouched float32 model's. A model that does not keep
# it on its samples is not computed so.
FLOORS = {"float32": 0.999999, "bfloat16": 0.9995}
# The largest distance of a text's vector in one batch to its vector alone. Of all-MiniLM-L6-v2 the
# worst of 16,000 vectors in 800 random batches is 1.0e-4 in bfloat16 (1.3e-4 has been seen), where
# the worst is 1.4e-4 away from float32: what is computed alone and what is computed with others are
# rounded in different places. In float32 it is rounding alone: below 1e-12 (`python -m
# tests.benchmarks.composition`).
COMPOSITION = {"float32": 1e-6, "bfloat16": 3e-4}
