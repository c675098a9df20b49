"""One model's tokeniser: texts and token lists in, checked ids out."""

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from embedwell.errors import Invalid, InvalidModel, ModelError
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.models import Manifest, Pooling
from embedwell.tokenization.prompts import choose

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer as Fast

CHARACTERS_PER_TOKEN = 250  # nobody's longest word; a text beyond this is cut before it is read
T = TypeVar("T")


class ModelTokenizer:
    """Reads `tokenizer.json` once, sets it up once, and never changes it: safe in any thread.

    Raises InvalidModel for a file that cannot be read. Loading blocks.
    """

    def __init__(self, path: "Path", manifest: Manifest) -> None:
        self._manifest = manifest
        self._whole = _read(path)
        self._cut = _read(path)
        for fast in (self._whole, self._cut):
            fast.no_padding()
            fast.no_truncation()
        side = manifest.truncation_side
        _guarded(lambda: self._cut.enable_truncation(manifest.max_tokens, direction=side))
        self._prompt_tokens: dict[str, int] = {}

    def encode(self, call: EmbeddingCall) -> Tokens:
        """Ids within the vocabulary, at most `max_tokens` each. Blocks.

        Raises Invalid for what the client got wrong, ModelError where the tokeniser itself fails.
        """
        first = call.texts[0]
        if isinstance(first, str):
            return self._texts([text for text in call.texts if isinstance(text, str)], call)
        return self._lists([ids for ids in call.texts if not isinstance(ids, str)], call)

    def _texts(self, texts: Sequence[str], call: EmbeddingCall) -> Tokens:
        prompt = choose(call, self._manifest)
        longest = self._manifest.max_tokens * CHARACTERS_PER_TOKEN
        given = [self._given(prompt + text, i, longest) for i, text in enumerate(texts)]
        encodings = _guarded(lambda: self._cut.encode_batch_fast(given, add_special_tokens=True))
        cut = tuple(
            i
            for i, encoding in enumerate(encodings)
            if encoding.overflowing or len(prompt) + len(texts[i]) > longest
        )
        if cut and not call.truncate:
            self._refuse(cut[0], self._length(given[cut[0]]))
        ids = [encoding.ids or self._nothing(i) for i, encoding in enumerate(encodings)]
        self._check_own([max(row) for row in ids])
        return _pack(ids, self._skip(prompt), cut)

    def _given(self, text: str, index: int, longest: int) -> str:
        if len(text) > longest:
            text = text[-longest:] if self._manifest.truncation_side == "left" else text[:longest]
        try:
            text.encode()
        except UnicodeEncodeError:
            message = f"input: item {index} has a lone surrogate, which is not a character"
            raise Invalid(message, param="input") from None
        return text.lower() if self._manifest.lowercase else text

    def _nothing(self, index: int) -> list[int]:
        if self._manifest.empty_token is None:
            raise Invalid(f"input: item {index} has no tokens for this model", param="input")
        return [self._manifest.empty_token]

    def _lists(self, lists: Sequence[tuple[int, ...]], call: EmbeddingCall) -> Tokens:
        if call.prompt_name is not None:
            choose(call, self._manifest)  # a wrong name is an error even where none is used
        limit, vocabulary = self._manifest.max_tokens, self._manifest.vocabulary
        for index, ids in enumerate(lists):
            if not ids:
                raise Invalid(f"input: item {index} is an empty token list", param="input")
            _check_range(ids, index, vocabulary)
        cut = tuple(index for index, ids in enumerate(lists) if len(ids) > limit)
        if cut and not call.truncate:
            self._refuse(cut[0], len(lists[cut[0]]))
        left = self._manifest.truncation_side == "left"
        return _pack([ids[-limit:] if left else ids[:limit] for ids in lists], 0, cut)

    def _length(self, text: str) -> int:
        (encoding,) = _guarded(lambda: self._whole.encode_batch_fast([text]))
        return len(encoding.ids)

    def _refuse(self, index: int, length: int) -> None:
        limit = self._manifest.max_tokens
        message = f"input: item {index} has {length} tokens, the model takes {limit}"
        raise Invalid(message, param="input")

    def _check_own(self, highest: Sequence[int]) -> None:
        if max(highest) >= self._manifest.vocabulary:
            raise ModelError("The model's tokeniser gives ids that its embedding table lacks")

    def _skip(self, prompt: str) -> int:
        """Leading tokens that pooling leaves out: the prompt's, as sentence-transformers counts."""
        pooling = next((m for m in self._manifest.modules if isinstance(m, Pooling)), None)
        if not prompt or pooling is None or pooling.include_prompt:
            return 0
        if prompt not in self._prompt_tokens:
            lowered = prompt.lower() if self._manifest.lowercase else prompt
            (encoding,) = _guarded(lambda: self._whole.encode_batch_fast([lowered]))
            closed = bool(encoding.ids) and encoding.ids[-1] in self._manifest.prompt_closers
            self._prompt_tokens[prompt] = len(encoding.ids) - closed
        return self._prompt_tokens[prompt]


def _check_range(ids: Sequence[int], index: int, vocabulary: int) -> None:
    if min(ids) >= 0 and max(ids) < vocabulary:
        return
    wrong = next(i for i in ids if not 0 <= i < vocabulary)
    raise Invalid(
        f"input: item {index} has the token id {wrong}, outside the model's vocabulary of "
        f"{vocabulary}; token ids must be this model's own, not another tokeniser's "
        "(LangChain: check_embedding_ctx_length=False)",
        param="input",
    )


def _pack(rows: Sequence[Sequence[int]], skip: int, cut: tuple[int, ...]) -> Tokens:
    ids = tuple(array("i", row).tobytes() for row in rows)
    return Tokens(ids, tuple(len(row) for row in rows), skip, cut)


def _read(path: "Path") -> "Fast":
    from tokenizers import Tokenizer as Fast

    try:
        return Fast.from_file(str(path))
    except BaseException as error:  # a Rust panic is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InvalidModel("tokenizer.json cannot be read by the tokenizers library") from None


def _guarded(call: Callable[[], T]) -> T:
    """Its result; whatever the library raises, a Rust panic too, is the model's fault."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ModelError("The model's tokeniser failed on this input") from None
