"""Device memory as a file says, which a test may write from another process."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from embedwell.interfaces.encoders import Memory
from embedwell.testing.devices import FakeMemory

Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]


class _Told(Struct, frozen=True, forbid_unknown_fields=True):
    total: Bytes
    used_by_others: Bytes = 0
    fail: Literal["nvml", "all"] | None = None


class FileMemory(FakeMemory):
    """Reads `{"total": …, "used_by_others": …, "fail": null | "nvml" | "all"}` each time, in bytes.

    `taken`, what models of a FakeBackend hold, is not free either. "nvml" fails nothing here:
    measuring needs no NVML. Replace the file by a rename, or a measurement may meet half of it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def measure(self) -> Memory:
        """Raises OSError for "all", and for a file that is missing or says something else."""
        try:
            told = msgspec.json.decode(self._path.read_bytes(), type=_Told)
        except msgspec.MsgspecError as error:
            raise OSError(f"the file of the device's memory is wrong: {error}") from None
        if told.fail == "all":
            raise OSError("the device does not answer, its file says")
        self.total, self.others = told.total, told.used_by_others
        return super().measure()
