"""Whether more bytes fit: on the disk, and within the store's own share of it. Pure."""

from embedwell.errors import InsufficientStorage

RESERVE = 100_000_000  # bytes that uploads leave free, for the server's own records
GB = 1_000_000_000


def missing(size: int, free: int, used: int, max_disk_gb: float) -> int:
    """Bytes that must come free before `size` more can be written; at most 0: it fits."""
    on_disk = size + RESERVE - free
    return max(on_disk, over_share(size, used, max_disk_gb))


def over_share(size: int, used: int, max_disk_gb: float) -> int:
    """Bytes beyond `max_disk_gb` (10⁹ bytes; 0 is no limit) once `size` more are written."""
    return round(used + size - max_disk_gb * GB) if max_disk_gb > 0 else 0


def refusal(size: int, free: int, used: int, max_disk_gb: float) -> InsufficientStorage:
    """Why there is no room, and what to do."""
    more = f"{_shown(size)} more" if size else "this model"
    if over_share(size, used, max_disk_gb) > 0:
        return InsufficientStorage(
            f"The store is full: it holds {_shown(used)}, and {more} would pass "
            f"store.max_disk_gb = {max_disk_gb:g}; delete models or raise the limit"
        )
    return InsufficientStorage(
        f"The disk is full: {more} would leave less than {_shown(RESERVE)} of the "
        f"{_shown(free)} that are free; delete models or free some space"
    )


def _shown(size: int) -> str:
    return f"{size / GB:.1f} GB" if size >= GB else f"{size / 1_000_000:.1f} MB"
