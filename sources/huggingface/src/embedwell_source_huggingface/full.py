"""Whether a failure means that the disk has no room."""

import errno
import os

WORDS = (errno.ENOSPC, errno.EDQUOT)
FULL = (*WORDS, errno.EFBIG)  # "File too large" may be said of much else


def full(error: Exception) -> bool:
    """By its number, or by its words: what is not written in Python raises a RuntimeError."""
    number = error.errno if isinstance(error, OSError) else None
    return number in FULL or any(os.strerror(code) in str(error) for code in WORDS)
