"""Tags: the name a client sends as `model`, by an allowlist grammar."""

import re
from functools import lru_cache

from embedwell.errors import Invalid
from embedwell.interfaces.models import REVISION, SEGMENT, SOURCE_NAME, ModelRef

ECHO = 200
REMEMBERED = 1_024  # tags that were taken apart; a server is asked for few
_NAME = re.compile(rf"{SEGMENT}(?:/{SEGMENT})?")
_SOURCE = re.compile(SOURCE_NAME)
_REVISION = re.compile(REVISION)
_LONGEST = 96 + 1 + 96 + 1 + 96 + 1 + 128


@lru_cache(REMEMBERED)
def parse(text: str) -> ModelRef:
    """Take `[source:]segment[/segment][@revision]` apart; raises Invalid for the field `model`."""
    if len(text) > _LONGEST:
        raise _invalid(text, f"it is longer than {_LONGEST} characters")
    tag, at, revision = text.partition("@")
    source, colon, name = tag.rpartition(":")
    if colon and not _SOURCE.fullmatch(source):
        raise _invalid(
            text, "the part before ':' must be a source, in letters, digits, '_' and '-'"
        )
    if not _NAME.fullmatch(name):
        raise _invalid(text, "expected 'name' or 'owner/name' in letters, digits, '.', '_' and '-'")
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise _invalid(text, "the revision after '@' must be a branch, a tag or a commit")
    return ModelRef(name, revision or None, source or None)


def _invalid(text: str, why: str) -> Invalid:
    shown = ascii(text[: ECHO + 1])[1:-1]
    if len(shown) > ECHO:
        shown = f"{shown[: ECHO - 3]}..."
    return Invalid(f"Not a model name: '{shown}': {why}", param="model")
