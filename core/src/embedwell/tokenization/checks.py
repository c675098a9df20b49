"""What inputs and ids must be; each check raises, naming the input by its index."""

from collections.abc import Sequence

from embedwell.errors import Invalid, InvalidModel


def text(value: str, index: int) -> None:
    """A text must be encodable: half a surrogate pair is not."""
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"input {index} has a lone surrogate at character {error.start}: not a text"
        raise Invalid(message, param="input") from None


def given(ids: Sequence[int], index: int, vocabulary: int) -> None:
    """A client's token ids must be of the model's vocabulary."""
    if not ids or 0 <= min(ids) <= max(ids) < vocabulary:
        return
    wrong = next(i for i in ids if not 0 <= i < vocabulary)
    raise Invalid(
        f"input {index} has token id {wrong}, which is outside the model's vocabulary of "
        f"{vocabulary} tokens. Ids of another tokenizer (OpenAI's, say) do not fit: send text, or "
        "ids of this model's own tokenizer (LangChain: check_embedding_ctx_length=False)",
        param="input",
    )


def made(ids: Sequence[int], index: int, vocabulary: int) -> None:
    """A model's tokenizer may know more tokens than its weights do."""
    if ids and max(ids) >= vocabulary:
        raise InvalidModel(
            f"The model's tokenizer gave token id {max(ids)} for input {index}, "
            f"but its weights know {vocabulary} tokens"
        )


def too_long(index: int, count: str, limit: int) -> Invalid:
    """The error for an input that would have to be cut and may not be."""
    message = f"input {index} has {count}, the model takes {limit} and truncate is false"
    return Invalid(message, param="input")
