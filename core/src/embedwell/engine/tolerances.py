"""How far vectors may be from what they should be, by the numbers a model computes in.

Distances are 1 − cosine. No text of any model may be further away than this, in whichever batch.
"""

# The least cosine of a text's vector to the untouched float32 model's. A model that does not keep
# it on its samples is not computed so.
FLOORS = {"float32": 0.999999, "bfloat16": 0.9995}
# The largest distance of a text's vector in one batch to its vector alone.
COMPOSITION = {"float32": 1e-6, "bfloat16": 5e-4}
