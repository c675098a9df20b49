"""The embeddings request and the listings, as they are on the wire."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from msgspec import UNSET, Meta, Struct, UnsetType

from embedwell.errors import Invalid
from embedwell.interfaces.embedding import EmbeddingCall
from embedwell.interfaces.models import TAG_PATTERN, ModelRef
from embedwell.interfaces.routes import Request
from embedwell.interfaces.status import ModelCard, ModelState, PluginInfo, Warming
from embedwell.interfaces.tasks import Task, TaskStatus

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Dimensions = Annotated[int, Meta(ge=1, le=2**31 - 1)]
ShortText = Annotated[str, Meta(max_length=256)]
Tag = Annotated[
    str,
    Meta(
        description="A model's tag: [source:]name[@revision], the name perhaps with an owner",
        examples=["sentence-transformers/all-MiniLM-L6-v2"],
        extra_json_schema={"pattern": TAG_PATTERN},  # `parse_tag` says better what is wrong
    ),
]
MAX_NAMES = 100  # tags in one request to the cache
Names = Annotated[list[Annotated[Tag, Meta(max_length=1_000)]], Meta(max_length=MAX_NAMES)]
# msgspec allows one kind of array in a union, so lists of one kind are checked afterwards.
Input = str | list[str | TokenId | list[TokenId]]
INPUTS = ["Text to embed", ["First text", "Second text"], [101, 7592, 2088, 102]]
MIXED = "Invalid value for input: a text, a list of texts, a token list, or a list of token lists"


def _said(description: str, examples: list[Any] | None = None) -> Meta:
    """For the OpenAPI document alone."""
    return Meta(description=description, examples=examples)


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    """Null is the same as absent; fields not listed here are ignored."""

    model: Tag
    input: Annotated[Input, _said("Texts, or lists of the model's own token ids", INPUTS)]
    encoding_format: Annotated[
        Literal["float", "base64"] | None, _said("base64: the bytes of little-endian float32")
    ] = None
    dimensions: Annotated[Dimensions | None, _said("Of the answer: at most the model's")] = None
    user: Annotated[str | None, _said("Accepted, and not used")] = None
    truncate: Annotated[
        bool | None, _said("false makes an input that is too long an error; default true")
    ] = None
    prompt_name: Annotated[ShortText | None, _said("One of the model's prompts")] = None
    input_type: Annotated[
        ShortText | None, _said("query or document: the model's prompt for it, if it has one")
    ] = None
    normalize: Annotated[
        bool | None, _said("Whether vectors get unit length; default as the model says")
    ] = None

    def __post_init__(self) -> None:
        if isinstance(self.input, str):
            return
        if not self.input:
            raise Invalid("Invalid value for input: the list is empty", param="input")
        if len(set(map(type, self.input))) != 1:
            raise Invalid(f"{MIXED}, not a mixture", param="input")
        if isinstance(self.input[0], list) and not all(self.input):
            raise Invalid("Invalid value for input: a token list is empty", param="input")

    def texts(self, most: int) -> tuple[str, ...] | tuple[tuple[int, ...], ...]:
        """One item per vector; raises Invalid for more than `most`."""
        if isinstance(self.input, str):
            return (self.input,)
        if isinstance(self.input[0], int):
            return (tuple(cast("list[int]", self.input)),)
        if len(self.input) > most:
            raise Invalid(
                f"Invalid value for input: {len(self.input):,} items, at most {most:,} are "
                "allowed (batching.max_inputs)",
                param="input",
            )
        if isinstance(self.input[0], str):
            return tuple(cast("list[str]", self.input))
        return tuple(map(tuple, cast("list[list[int]]", self.input)))

    def call(self, ref: ModelRef, request: Request, most: int) -> EmbeddingCall:
        """What the embedder is asked; raises Invalid for too many inputs."""
        return EmbeddingCall(
            ref=ref,
            texts=self.texts(most),
            timeout=request.timeout,
            prompt_name=self.prompt_name,
            input_type=self.input_type,
            truncate=self.truncate is not False,
            dimensions=self.dimensions,
            normalize=self.normalize,
            request_id=request.request_id,
            caller=request.caller.id if request.caller else None,
        )


class Usage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class Embedding(Struct, frozen=True):
    """One vector: numbers, or their little-endian float32 bytes in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingResponse(Struct, frozen=True):
    """Vectors in the order of the inputs, and the tokens that they took."""

    object: Literal["list"]
    data: Sequence[Embedding]
    model: str
    usage: Usage


class Model(Struct, frozen=True, kw_only=True):
    """One row of the listing: OpenAI's four fields, then ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    source: str
    shadowed: Sequence[str]
    revision: str
    revisions: Sequence[str]
    dimensions: int | None
    max_input_tokens: int | None
    prompts: Mapping[str, str]
    state: ModelState
    bytes: int | None
    root: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET

    @classmethod
    def of(cls, card: ModelCard) -> "Model":
        return cls(
            id=card.name,
            created=card.created,
            owned_by=card.source,
            source=card.source,
            shadowed=card.shadowed,
            revision=card.revision,
            revisions=card.revisions or [card.revision],
            dimensions=card.dimensions,
            max_input_tokens=card.max_input_tokens,
            prompts=card.prompts,
            state=card.state,
            bytes=card.bytes,
            root=card.root or UNSET,
            problem=card.problem or UNSET,
        )


class ModelList(Struct, frozen=True):
    data: Sequence[Model]
    object: Literal["list"] = "list"


class TaskProgress(Struct, frozen=True):
    """Bytes, for a preload models; `total` is null while it is not known."""

    done: int
    total: int | None


class TaskBody(Struct, frozen=True, kw_only=True):
    """Background work; times are Unix seconds."""

    id: str
    kind: str
    key: str
    status: TaskStatus
    progress: TaskProgress
    error: str | None
    created: float
    finished: float | None

    @classmethod
    def of(cls, task: Task) -> "TaskBody":
        return cls(
            id=task.id,
            kind=task.kind,
            key=task.key,
            status=task.status,
            progress=TaskProgress(task.done, task.total),
            error=task.error,
            created=task.created,
            finished=task.finished,
        )


class TaskList(Struct, frozen=True):
    """Newest first."""

    tasks: Sequence[TaskBody]


def shape(declared: Any) -> Any:
    """The Struct of an answer that a Route declares: a plugin's Task looks as everybody's."""
    return TaskBody if declared is Task else declared


def body(value: Any) -> Any:
    """What a handler answers, in its `shape`."""
    return TaskBody.of(value) if isinstance(value, Task) else value


class PreloadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Tags to load ahead of use, in this order; without any, the most used ones."""

    models: Names | None = None
    max_models: Annotated[int, Meta(ge=0, le=MAX_NAMES)] | None = None


class PreloadReply(Struct, frozen=True):
    """The one task that loads them, and how each stood when it was asked for."""

    task: TaskBody
    models: Sequence[Warming]


class ClearRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Tags to unload; without any, all."""

    models: Names | None = None


class Health(Struct, frozen=True):
    status: Literal["ok", "ready"]


class PluginList(Struct, frozen=True):
    plugins: Sequence[PluginInfo]
