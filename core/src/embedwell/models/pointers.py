"""What a published name points to: its revisions, newest first; values only."""

from collections.abc import Iterable

from msgspec import Struct


class Revision(Struct, frozen=True):
    """One content that a name had; `created` is in Unix seconds, `digest` names the folder."""

    revision: str
    digest: str
    bytes: int
    files: int
    created: float


class Pointer(Struct, frozen=True):
    """A name and the revisions that are kept of it; the first one is current."""

    name: str
    revisions: tuple[Revision, ...]

    @property
    def current(self) -> Revision:
        return self.revisions[0]

    def of(self, revision: str | None) -> Revision | None:
        """The revision of that name; None asks for the current one."""
        if revision is None:
            return self.current
        return next((kept for kept in self.revisions if kept.revision == revision), None)

    def without(self, gone: Iterable[Revision]) -> "Pointer | None":
        """None where nothing is left."""
        dropped = set(gone)
        rest = tuple(kept for kept in self.revisions if kept not in dropped)
        return Pointer(self.name, rest) if rest else None


def pointing_to(name: str, new: Revision, before: Pointer | None, keep_previous: int) -> Pointer:
    """The pointer after publishing `new`: the same content again keeps its time of creation."""
    old = before.revisions if before else ()
    same = (kept for kept in old if (kept.revision, kept.digest) == (new.revision, new.digest))
    current = next(same, new)
    previous = [kept for kept in old if kept.revision != new.revision]
    return Pointer(name, (current, *previous[:keep_previous]))


def superseded(before: Pointer | None, after: Pointer | None) -> list[Revision]:
    """Revisions of `before` that are no longer kept, or no longer current."""
    if before is None:
        return []
    left = after.revisions if after else ()
    replaced = after is None or after.current != before.current
    return [
        kept
        for kept in before.revisions
        if kept not in left or (replaced and kept == before.current)
    ]


def spare(
    pointers: Iterable[tuple[tuple[str, str], Pointer]], busy: frozenset[str], needed: int
) -> "dict[tuple[str, str], list[Revision]] | None":
    """Previous revisions to drop, oldest first, until `needed` bytes come free; None: too few.

    A folder (by its digest) is freed with the last revision that names it; one that is current
    anywhere, or `busy`, stays.
    """
    known = [*pointers]
    stays = busy | {pointer.current.digest for _, pointer in known}
    old = [
        (kept.created, key, kept)
        for key, pointer in known
        for kept in pointer.revisions[1:]
        if kept.digest not in stays
    ]
    left = [kept.digest for _, _, kept in old]
    chosen: dict[tuple[str, str], list[Revision]] = {}
    for _, key, kept in sorted(old, key=lambda row: row[0]):
        if needed <= 0:
            break
        chosen.setdefault(key, []).append(kept)
        left.remove(kept.digest)
        needed -= 0 if kept.digest in left else kept.bytes
    return chosen if needed <= 0 else None
