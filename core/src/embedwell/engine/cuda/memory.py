"""A GPU's memory as a DeviceMemory: what its driver says of this device, or of this MIG slice."""

from embedwell.interfaces.encoders import Memory

REUSABLE = 0.9  # of what torch's allocator keeps; the rest may be in pieces too small


class CudaMemory:
    """The device `cuda:<index>`, in torch's own order.

    The first measurement creates the CUDA context, which takes a second or so and some memory.
    """

    def __init__(self, index: int) -> None:
        self._index = index

    def measure(self) -> Memory:
        """Bytes; raises OSError where there is no such device or its driver does not answer."""
        try:
            import torch

            free, total = torch.cuda.mem_get_info(self._index)
            reserved = torch.cuda.memory_reserved(self._index)
            allocated = torch.cuda.memory_allocated(self._index)
        except (ImportError, AssertionError, RuntimeError, ValueError) as error:
            raise self._unmeasured(str(error)) from None
        if not 0 <= free <= total or not total:
            raise self._unmeasured(f"its driver says {free:,} of {total:,} bytes")
        return Memory(total, usable(free, total, reserved, allocated))

    def _unmeasured(self, why: str) -> OSError:
        line = (why.strip() or "no reason is given").splitlines()[0][:200]
        return OSError(f"the memory of cuda:{self._index} cannot be measured: {line}")


def usable(free: int, total: int, reserved: int, allocated: int) -> int:
    """What models may get: the driver's free bytes, and most of those that torch only keeps.

    A batch's activations stay with torch's allocator after it: counted as others' they would be
    counted twice, for the cache reserves the largest of them already.
    """
    kept = max(0, reserved - allocated)
    return min(total, free + int(REUSABLE * kept))
