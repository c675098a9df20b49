"""Where writable sources keep their models: private staging, then an immutable folder."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from embedwell.interfaces.models import ModelRef, Snapshot


class Published(Struct, frozen=True, kw_only=True):
    """A revision that a name now points to; `replaced` is the one it pointed to before.

    `warning` says what its owner may not expect of its vectors.
    """

    snapshot: Snapshot
    bytes: int
    files: int
    replaced: str | None = None
    warning: str | None = None


class Staging(Protocol):
    """A private folder that is removed, with all that is in it, unless it is published.

    File names are '/'-separated and relative; every method raises InvalidModel for a name or a
    content that may not be, InsufficientStorage for a full disk, when no old revision is left to
    go for what has come.
    """

    @property
    def path(self) -> Path:
        """The folder itself, for those who write files in a thread of their own."""

    async def write(self, name: str, data: bytes) -> None:
        """Append to the file `name` of the model."""

    async def keep(self, data: bytes) -> None:
        """Append to the one archive that `unpack` will take apart."""

    async def unpack(self, *, within: str = "", only: Callable[[str], bool] | None = None) -> None:
        """Take the kept archive apart: zip, tar or tar.gz, by its content.

        A single folder around everything is taken off; then only what lies below `within` is
        the model, and of that only the files whose names `only` accepts.
        """

    async def publish(self, revision: str | None = None) -> Published:
        """Validate, sync, move into place, and only then point the name at it; once.

        `revision` None takes the content's digest. Raises InvalidModel with the reason.
        """


class Store(Protocol):
    """Models of writable sources, below the data directory; loop only."""

    def stage(self, source: str, name: str) -> AbstractAsyncContextManager[Staging]:
        """Raises Conflict while the name is being published or where its case differs only.

        Raises Invalid for a name that may not be published.
        """

    async def find(self, source: str, ref: ModelRef) -> Snapshot | None:
        """The revision asked for if it is kept, else what the name points to."""

    async def models(self, source: str) -> Sequence[Snapshot]:
        """All revisions that are kept, of each name the current one first."""

    async def remove(self, source: str, ref: ModelRef) -> None:
        """Forget a name, or its one revision: the pointer now, the files once nobody holds them.

        Raises ModelNotFound, Conflict while the name is being published.
        """

    async def check_room(self, size: int) -> None:
        """Raises InsufficientStorage where `size` bytes would not fit without old revisions either.

        For sizes that somebody only says: nothing goes for them.
        """

    async def make_room(self, size: int) -> None:
        """See that `size` bytes fit: old revisions go first. Raises InsufficientStorage."""

    async def released(self, snapshot: Snapshot) -> None:
        """Returns once no request holds this snapshot; from then on none can: its files may go.

        For snapshots that a source keeps outside the store, and erases by itself.
        """

    def revive(self, path: Path) -> None:
        """The folder of a released snapshot is to stay after all: requests may hold it again."""
