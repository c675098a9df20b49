"""Which members of an archive are the model's files, and what the model calls them."""

from collections.abc import Callable

from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.models.members import Limits, Member, shown
from embedwell.models.names import FileNames, check_file, stray

Wanted = Callable[[str], bool]
MAX_NAME = 4_000  # characters of a member that is wanted; more cannot pass for a file's name
_PAX_NOISE = "pax_global_header"


class _Kept(Struct, frozen=True):
    """A member that may turn out to be the model's: `number` is its content's."""

    name: str
    folder: bool
    refused: str
    number: int


class Sorter:
    """Takes members one after another; only after the last it is known whether all lie in one
    folder, which then is no part of their names. Until then both readings are kept.
    """

    def __init__(self, within: str, only: Wanted, limits: Limits) -> None:
        self._inner = f"{within}/" if within else ""
        self._only = only
        self._limits = limits
        self._kept: list[_Kept] = []
        self._found: set[bool] = set()  # readings in which `within` is there
        self._top: str | None = None  # the folder that all members so far lie in
        self._several = False

    def accept(self, member: Member) -> int | None:
        """The number to keep its content under; None where it has none or is not wanted."""
        name = _plain(member.name)
        if not name or name == _PAX_NOISE or stray(name):
            return None
        self._see(name, member.folder)
        if not (self._wants(name, member, True) or self._wants(name, member, False)):
            return None
        if len(name) > MAX_NAME:
            raise _refused(name, "it is too long")
        kept = _Kept(name, member.folder, member.refused, len(self._kept))
        self._kept.append(kept)
        if sum(other.folder == kept.folder for other in self._kept) > self._limits.files:
            what = "folders" if kept.folder else "files"
            raise InvalidModel(f"The archive holds more than {self._limits.files:,} {what}")
        return None if kept.folder or kept.refused else kept.number

    def settled(self) -> dict[str, int]:
        """The numbers of the model's files by their names; InvalidModel for what may not be."""
        inside = self._top is not None
        if self._inner and inside not in self._found:
            raise InvalidModel(f"The archive has no folder '{shown(self._inner[:-1])}' in it")
        names, numbers = FileNames(), dict[str, int]()
        for kept in self._kept:
            name = self._relative(kept.name, inside)
            if not name or not self._chosen(name, kept.folder):
                continue
            if kept.refused:
                raise InvalidModel(f"'{shown(name)}' is {kept.refused}: pack plain files only")
            if kept.folder:
                check_file(name)
            elif numbers.setdefault(names.add(name), kept.number) != kept.number:
                raise InvalidModel(f"'{shown(name)}' is in the archive twice")
        if not numbers:
            raise InvalidModel("The archive has no files of a model in it")
        return numbers

    def _see(self, name: str, folder: bool) -> None:
        top, below, _ = name.partition("/")
        if self._several or not (below or folder) or self._top not in (None, top):
            self._several, self._top = True, None
        else:
            self._top = top
        for inside in (True, False):
            seen = self._reading(name, inside)
            if seen is not None and f"{seen}/".startswith(self._inner):
                self._found.add(inside)

    def _wants(self, name: str, member: Member, inside: bool) -> bool:
        relative = self._relative(name, inside)
        return bool(relative) and self._chosen(relative or "", member.folder)

    def _chosen(self, name: str, folder: bool) -> bool:
        return folder or self._only(name)

    def _relative(self, name: str, inside: bool) -> str | None:
        """What the model would call it; None for what is no part of the model."""
        seen = self._reading(name, inside)
        if seen is None or not seen.startswith(self._inner):
            return None
        return seen.removeprefix(self._inner)

    def _reading(self, name: str, inside: bool) -> str | None:
        """The name without the one folder around everything, where that is (still) so."""
        if not inside:
            return name
        return None if self._top is None else name.partition("/")[2]


def _plain(name: str) -> str:
    """Without what means nothing; raises InvalidModel for what leads out of any folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise _refused(name, "it leads out of the model")
    return "/".join(parts)


def _refused(name: str, why: str) -> InvalidModel:
    return InvalidModel(f"File name not accepted: '{shown(name)}': {why}")
