"""One model's tokeniser: inputs and prompt to checked ids, cut to the model's length."""

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from embedwell.errors import Invalid, ModelError
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.models import Manifest, Pooling
from embedwell.tokenization import checks
from embedwell.tokenization.prompts import prompt

if TYPE_CHECKING:
    import tokenizers

T = TypeVar("T")
SHORT = 2_000  # characters or ids, a text's own costs among them: about a millisecond
EACH = 32  # characters that a text costs beside its own
CHUNK = 500_000  # characters tokenised at once, which bounds what their encodings take
LONGEST_TOKEN = 250  # characters; no more than this many a token are looked at, and a margin
MARGIN = 10_000


class Tokenizer:
    """Read-only once built, so that any number of threads may use it at once."""

    def __init__(self, backend: "tokenizers.Tokenizer", manifest: Manifest) -> None:
        """Takes `backend` over: what it had stored of truncation and padding is dropped."""
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._manifest = manifest
        self._room = max(0, manifest.max_tokens - backend.num_special_tokens_to_add(False))
        self._skips = any(isinstance(m, Pooling) and not m.include_prompt for m in manifest.modules)

    def is_short(self, call: EmbeddingCall) -> bool:
        """Whether it takes no time worth a thread's, its prompt included.

        Raises Invalid for the prompt.
        """
        before = prompt(self._manifest, call)
        return _size(len(before), call.texts) < SHORT

    def encode(self, call: EmbeddingCall) -> Tokens:
        """Raises Invalid, InvalidModel, ModelError; blocks for as long as the texts are long."""
        before = prompt(self._manifest, call)
        items: Sequence[str | tuple[int, ...]] = call.texts
        texts = [item for item in items if isinstance(item, str)]
        given = [item for item in items if not isinstance(item, str)]
        for index, text in enumerate(texts):
            checks.text(text, index)
        tokenized = self._tokenized(before, texts, call.truncate)
        fed, truncated = self._filled(chain(self._given(given, call.truncate), tokenized))
        skip = self._skip(before) if texts and before and self._skips else 0
        return Tokens(tuple(map(_packed, fed)), tuple(map(len, fed)), skip, tuple(truncated))

    def _filled(
        self, sequences: Iterable[tuple[Sequence[int], bool]]
    ) -> tuple[list[Sequence[int]], list[int]]:
        """Sequences of which none is empty, and the indices of those that were cut."""
        fed: list[Sequence[int]] = []
        truncated: list[int] = []
        for index, (ids, cut) in enumerate(sequences):
            fed.append(ids or self._nothing(index))
            if cut:
                truncated.append(index)
        return fed, truncated

    def _given(
        self, items: Sequence[Sequence[int]], truncate: bool
    ) -> Iterator[tuple[Sequence[int], bool]]:
        """Token lists, checked and cut."""
        limit = self._manifest.max_tokens
        for index, ids in enumerate(items):
            checks.given(ids, index, self._manifest.vocabulary)
            cut = len(ids) > limit
            if cut and not truncate:
                raise checks.too_long(index, f"{len(ids)} tokens", limit)
            yield (ids[-limit:] if self._left else ids[:limit]), cut

    @property
    def _left(self) -> bool:
        return self._manifest.truncation_side == "left"

    def _tokenized(
        self, before: str, texts: Sequence[str], truncate: bool
    ) -> Iterator[tuple[Sequence[int], bool]]:
        limit = self._manifest.max_tokens
        for first, chunk in _chunks(texts, len(before)):
            prepared = [self._prepare(before + text) for text in chunk]
            for place, encoding in enumerate(self._batch([text for text, _ in prepared])):
                index, (text, cut) = first + place, prepared[place]
                ids: list[int] = encoding.ids
                if not truncate and (cut or len(ids) > limit):
                    count = f"more than {len(text)} characters" if cut else f"{len(ids)} tokens"
                    raise checks.too_long(index, count, limit)
                if len(ids) > limit:
                    ids, cut = self._truncated(text), True
                checks.made(ids, index, self._manifest.vocabulary)
                yield ids, cut

    def _prepare(self, text: str) -> tuple[str, bool]:
        """What of a text is looked at: no model sees the rest, and time goes by its length."""
        most = self._manifest.max_tokens * LONGEST_TOKEN + MARGIN
        cut = len(text) > most
        if cut:
            text = text[-most:] if self._left else text[:most]
        return (text.lower() if self._manifest.lowercase else text), cut

    def _batch(self, texts: list[str]) -> "list[tokenizers.Encoding]":
        """Short ones one by one: the library's threads would want the device's processors."""
        encode = self._backend.encode_batch_fast
        if _size(0, texts) < SHORT:
            return _rust(lambda: [encoding for text in texts for encoding in encode([text])])
        return _rust(lambda: encode(texts))

    def _truncated(self, text: str) -> list[int]:
        """The text's ids without its end (or start), the special tokens kept."""

        def run() -> list[int]:
            encoding = self._backend.encode(text, add_special_tokens=False)
            encoding.truncate(self._room, direction=self._manifest.truncation_side)
            ids: list[int] = self._backend.post_process(encoding, None, True).ids
            return ids

        return _rust(run)[: self._manifest.max_tokens]

    def _nothing(self, index: int) -> Sequence[int]:
        if self._manifest.empty_token is None:
            message = f"input {index} has no tokens, and this model has none for an empty text"
            raise Invalid(message, param="input")
        return (self._manifest.empty_token,)

    def _skip(self, before: str) -> int:
        """A prompt's length in tokens, as sentence-transformers counts it."""
        ((ids, _),) = self._tokenized(before, [""], True)
        closed = bool(ids) and ids[-1] in self._manifest.prompt_closers
        return len(ids) - closed


def _size(before: int, items: Sequence[str | Sequence[int]]) -> int:
    return sum(EACH + before + len(item) for item in items)


def _packed(ids: Sequence[int]) -> bytes:
    numbers = array("i", ids)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _chunks(texts: Sequence[str], before: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Slices of CHUNK characters at most, or of one text, each with its first index.

    Each text counts with the `before` characters of its prompt.
    """
    first = size = 0
    for index, text in enumerate(texts):
        if size + before + len(text) > CHUNK and index > first:
            yield first, texts[first:index]
            first, size = index, 0
        size += before + len(text)
    yield first, texts[first:]


def _rust(run: Callable[[], T]) -> T:
    """Its failures as errors; a panic of the Rust library is no Exception."""
    try:
        return run()
    except BaseException as error:
        if isinstance(error, Exception) or is_panic(error):
            raise ModelError("The model's tokenizer failed on this input") from error
        raise


def is_panic(error: BaseException) -> bool:
    """Whether Rust code gave up; its type cannot be imported."""
    return type(error).__name__ == "PanicException"
