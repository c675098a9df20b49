"""Special tokens: which ids stand for which role, from the tokenizer's own files."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.models.documents import LARGE, below, contents

_FOR_EMPTY = ("eos_token", "sep_token", "pad_token", "cls_token", "bos_token", "unk_token")
_CLOSERS = ("eos_token", "sep_token", "pad_token")


class _Added(Struct, frozen=True):
    id: int
    content: str


class _Tokenizer(Struct, frozen=True):
    added_tokens: list[_Added] | None = None


class SpecialTokens(Struct, frozen=True):
    """See `Manifest.empty_token` and `Manifest.prompt_closers`."""

    empty: int | None
    closers: tuple[int, ...]


def read(root: Path, folder: str, roles: dict[str, Any], vocabulary: int) -> SpecialTokens:
    """From tokenizer.json, and `roles` (tokenizer_config.json over special_tokens_map.json)."""
    ids = {added.content: added.id for added in _added(root, below(folder, "tokenizer.json"))}
    known = {
        role: ids[content]
        for role in _FOR_EMPTY
        if (content := _content(roles.get(role))) in ids and 0 <= ids[content] < vocabulary
    }
    closers = tuple(sorted({known[role] for role in _CLOSERS if role in known}))
    return SpecialTokens(next(iter(known.values()), None), closers)


def _added(root: Path, name: str) -> list[_Added]:
    data = contents(root, name, LARGE)
    if data is None:
        raise InvalidModel(f"{name} is missing: a model needs tokenizer.json (a fast tokenizer)")
    try:
        return msgspec.json.decode(data, type=_Tokenizer).added_tokens or []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModel(f"{name} is not a tokenizer: {error}") from error


def _content(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""
