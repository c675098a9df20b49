"""One look at a server before the clock starts: which model, and is its answer right."""

from time import monotonic_ns

import msgspec
from msgspec import Struct

from embedwell.bench.answers import Facts, WrongAnswer, check, reason
from embedwell.bench.errors import Unmeasurable, printable
from embedwell.bench.framing import Answer
from embedwell.bench.load import busy
from embedwell.bench.supply import Form
from embedwell.bench.target import Target, message

KEY_HINT = "give a key with --api-key, or in EMBEDWELL_API_KEY"
TEXT = "A text to see whether this server answers."  # none of those that are measured


class Card(Struct):
    """A row of a model listing."""

    id: str


class Listing(Struct):
    """The answer of GET /models."""

    data: list[Card]


class Once:
    """Asks one thing; `answer` is there, or `problem` says why it is not."""

    def __init__(self, request: bytes) -> None:
        self._request: bytes | None = request
        self.answer: Answer | None = None
        self.problem = ""

    def take(self) -> bytes | None:
        request, self._request = self._request, None
        return request

    def answered(self, slot: int, begun: int, ended: int, answer: Answer) -> None:
        self.answer = answer

    def failed(self, slot: int, begun: int, kind: str) -> None:
        waited = f" after {(monotonic_ns() - begun) / 1e9:.0f} s" if kind == "timeout" else ""
        self.problem = kind + waited


async def first_model(to: Target, key: str, patience: float) -> str:
    """The model that the server lists first; raises Unmeasurable."""
    answer = await _ask(to, message(to, "GET", "/models", key), patience)
    hint = "name one with --model, or check the URL"
    if answer.status != 200:
        raise Unmeasurable(f"{to.url}/models: {_refusal(answer, hint)}")
    try:
        listing = msgspec.json.decode(answer.body, type=Listing)
    except (msgspec.DecodeError, RecursionError):
        raise Unmeasurable(f"{to.url}/models answers no list of models: {hint}") from None
    if not listing.data:
        raise Unmeasurable(f"{to.url} lists no model: {hint}")
    return listing.data[0].id


async def facts(form: Form, patience: float) -> Facts:
    """What one right answer shows; raises Unmeasurable for any other, and for none."""
    texts = [TEXT] * form.per_request
    answer = await _ask(form.target, form.request(texts), patience)
    where = f"{form.target.url}, model {printable(form.model)}"
    if answer.status != 200:
        raise Unmeasurable(f"{where}: {_refusal(answer)}")
    try:
        return check(answer.body, form.per_request)
    except WrongAnswer as error:
        raise Unmeasurable(f"{where}: the answer is wrong: {error}") from None


async def _ask(to: Target, request: bytes, patience: float) -> Answer:
    once = Once(request)
    await busy(to, once, 0, patience)
    if once.answer is None:
        reason = f"{once.problem}; is the server running there?"
        raise Unmeasurable(f"{to.url} cannot be asked: {reason}")
    return once.answer


def _refusal(answer: Answer, hint: str = "") -> str:
    said = reason(answer.body)
    told = f"status {answer.status}: {said}" if said else f"status {answer.status}"
    if answer.status in (401, 403):
        hint = KEY_HINT
    return f"{told}; {hint}" if hint else told
