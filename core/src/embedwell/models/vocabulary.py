"""The ids that tokenizer.json can give: each must have a row in the embedding table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from embedwell.errors import InvalidModel
from embedwell.models.documents import LARGE, contents
from embedwell.models.members import shown

MAX_ENTRIES = 1_000_000
_Id = Annotated[int, Meta(ge=0)]


class _Added(Struct, frozen=True):
    id: _Id
    content: str


class _Model(Struct, frozen=True):
    """`vocab` is a list where an entry's place is its id (Unigram)."""

    vocab: dict[str, _Id] | list[msgspec.Raw]


class _Tokenizer(Struct, frozen=True):
    model: _Model
    added_tokens: list[_Added] | None = None
    post_processor: Any = None


def check(root: Path, name: str, rows: int) -> None:
    """Raises InvalidModel for an id that is none of `rows`, or more entries than any model has."""
    tokenizer = _read(root, name)
    vocab, added = tokenizer.model.vocab, tokenizer.added_tokens or []
    if len(vocab) + len(added) > MAX_ENTRIES:
        raise InvalidModel(f"{name} has more than {MAX_ENTRIES:,} entries")
    if not vocab and not added:
        raise InvalidModel(f"{name} has no vocabulary")
    token, number = max(_ids(tokenizer), key=lambda pair: pair[1])
    if number >= rows:
        raise InvalidModel(
            f"{name}: token '{shown(token)}' has the id {number:,}, "
            f"but the weights know {rows:,} tokens"
        )


def _read(root: Path, name: str) -> _Tokenizer:
    data = contents(root, name, LARGE)
    if data is None:
        raise InvalidModel(f"{name} is missing: a model needs tokenizer.json (a fast tokenizer)")
    try:
        return msgspec.json.decode(data, type=_Tokenizer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModel(f"{name} is not a tokenizer: {error}") from error


def _ids(tokenizer: _Tokenizer) -> Iterator[tuple[str, int]]:
    vocab = tokenizer.model.vocab
    if isinstance(vocab, dict):
        yield from vocab.items()
    else:
        yield "the last one", len(vocab) - 1
    yield from ((added.content, added.id) for added in tokenizer.added_tokens or ())
    yield from _placed(tokenizer.post_processor)


def _placed(value: Any) -> Iterator[tuple[str, int]]:
    """What a post-processor puts around a text: `{"ids": […]}`, or `["[SEP]", 102]`."""
    pending = [value]
    while pending:
        match pending.pop():
            case [str(token), int(number)]:
                yield token, number
            case {"ids": [*numbers], **rest}:
                yield from ((str(rest.get("id")), n) for n in numbers if isinstance(n, int))
            case {**fields}:
                pending.extend(fields.values())
            case [*items]:
                pending.extend(items)
