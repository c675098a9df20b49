"""How far vectors may be from what they should be, by the numbers a model computes in.

Distances are 1 − cosine. No text of any model may be further away than this, in whichever batch.
"""

# The least cosine of a text's vector to the untouched float32 model's. A model that does not keep
# it on its samples is not computed so.
FLOORS = {"float32": 0.999999, "bfloat16": 0.9995}
# The largest distance of a text's vector in one batch to its vector alone. Of all-MiniLM-L6-v2 the
# worst of 80,000 vectors in 4,000 random batches is 7.8e-5 in bfloat16, a little more than half of
# what it is away from float32; by that a model just above its floor would stay below 3e-4.
# In float32 the worst is rounding: below 1e-12 (`python -m tests.benchmarks.composition`).
COMPOSITION = {"float32": 1e-6, "bfloat16": 3e-4}
