"""Tiny models behind a fake device and real HTTP."""

from tests.e2e.conftest import tiny

__all__ = ["tiny"]
