"""From the configured device to its backend, whose libraries are imported only here."""

import os
from importlib.util import find_spec

from embedwell.errors import ConfigurationError
from embedwell.interfaces.encoders import Backend

LIBRARIES = ("torch", "transformers", "safetensors")
# oneDNN keeps the code of each product by its exact shape, 0.7 to 1 MB each. One packed model comes
# to 400 at the most and keeps all of them; two of different widths may still make some anew. Models
# that run padded make new ones all the time, of which 1,024 took a gigabyte.
PRODUCTS_KEPT = "512"
# Besides, torch keeps descriptions of products in each thread, 0.26 MB each. A batch has fewer than
# this, and one is made anew in 7 microseconds.
DESCRIPTIONS_KEPT = "64"
# Threads that spin between products for longer take the processors from the event loop and from
# other programs, each of which then keeps a product's other threads spinning; waking threads that
# do not spin at all takes longer than most products.
SPINS = "10000"  # a quarter to half a millisecond
ENVIRONMENT = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": PRODUCTS_KEPT,
    "LRU_CACHE_CAPACITY": DESCRIPTIONS_KEPT,
}
SPINNING = "GOMP_SPINCOUNT"
WAITING = "OMP_WAIT_POLICY"  # an operator's word on spinning, which the number would overrule


def create(device: str, dtype: str, threads: int) -> Backend:
    """The backend for `device` ("auto", "cpu", "cuda", "cuda:N"); `threads` 0 counts them itself.

    Cheap: libraries are looked for, not imported. Raises ConfigurationError. Sets variables of
    the environment that torch reads when it is imported or multiplies first, unless they are set.
    """
    reasons = [*_device_faults(device), *_library_faults()]
    if reasons:
        raise ConfigurationError(reasons)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if WAITING not in os.environ:
        os.environ.setdefault(SPINNING, SPINS)
    from embedwell.engine.cpu.backend import CpuBackend
    from embedwell.engine.cpu.threads import available

    return CpuBackend(threads or available(), dtype)


def _device_faults(device: str) -> list[str]:
    if device in ("auto", "cpu"):
        return []
    if device.startswith("cuda"):
        return [
            f"engine.device: {device} is asked for, but this version has no CUDA backend yet; "
            'use "auto" or "cpu"'
        ]
    return [f'engine.device: {device!r} is no device; use "auto" or "cpu"']


def _library_faults() -> list[str]:
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if not missing:
        return []
    return [
        f"engine.device: computing vectors needs {', '.join(missing)}, not installed here; "
        'run: pip install "embedwell[torch]"'
    ]
