"""One upload from the socket to the store."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from embedwell import (
    BadRequest,
    Invalid,
    Published,
    Reply,
    Request,
    Staging,
    Store,
    UnsupportedMediaType,
)
from embedwell_source_upload.config import Config
from embedwell_source_upload.files import shown
from embedwell_source_upload.form import Form
from embedwell_source_upload.intake import Intake
from embedwell_source_upload.pace import Paced
from embedwell_source_upload.sink import Sink
from embedwell_source_upload.slots import Slots

SOURCE = "upload"
ARCHIVES = (
    "application/zip",
    "application/x-zip-compressed",
    "application/x-tar",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
)


class UploadForm(Struct, frozen=True):
    """A multipart upload: the model's name, then one archive or all of its files."""

    file: list[Annotated[str, Meta(extra_json_schema={"format": "binary"})]]
    model: str | UnsetType = UNSET


class Uploaded(Struct, frozen=True):
    """A published upload; `replaced` is the revision that the name had before.

    `warning` says what may not be expected of its vectors.
    """

    model: str
    revision: str
    source: str
    bytes: int
    files: int
    replaced: str | None
    warning: str | UnsetType = UNSET


class Receiver:
    """The handlers: whatever can be refused is refused before a byte of the body is read."""

    def __init__(self, config: Config, store: Store, clock: Callable[[], float]) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._slots = Slots(config.max_concurrent)

    async def form(self, request: Request) -> Reply:
        """`multipart/form-data`: the field model, and one archive or several files."""
        form = Form(_content_type(request))
        with self._slots.one():
            await self._check_room(request)
            async with AsyncExitStack() as stack:

                async def stage(name: str) -> Staging:
                    return await stack.enter_async_context(self._store.stage(SOURCE, name))

                intake = Intake(stage, request.query.get("model"))
                async for chunk in self._paced(request):
                    for event in form.feed(chunk):
                        await intake.take(event)
                form.close()
                return _reply(await intake.publish())

    async def archive(self, request: Request) -> Reply:
        """The body is the archive itself, the query names the model."""
        _check_archive(_content_type(request))
        name = request.query.get("model")
        if not name:
            raise Invalid("Field required: model, as ?model= in the URL", param="model")
        with self._slots.one():
            async with self._store.stage(SOURCE, name) as staging:
                await self._check_room(request)
                await self._keep(request, staging)
                await staging.unpack()
                return _reply(await staging.publish())

    async def _keep(self, request: Request, staging: Staging) -> None:
        sink = Sink(staging.keep)
        async for chunk in self._paced(request):
            await sink.add(chunk)
        if not sink.size:
            raise BadRequest("The body is empty: an archive is expected")
        await sink.flush()

    async def _check_room(self, request: Request) -> None:
        declared = request.head.headers.get(b"content-length", b"")
        if declared.isdigit():
            await self._store.check_room(int(declared))

    def _paced(self, request: Request) -> Paced:
        return Paced(
            request.body,
            rate=self._config.min_rate_kb * 1000,
            deadline=self._config.deadline_seconds,
            clock=self._clock,
        )


def _content_type(request: Request) -> str:
    return request.head.headers.get(b"content-type", b"").decode("latin-1")


def _check_archive(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind not in ARCHIVES:
        raise UnsupportedMediaType(
            f"The Content-Type {shown(kind)} is no archive's: send application/zip, "
            "application/x-tar, application/gzip, application/octet-stream or none"
        )


def _reply(published: Published) -> Reply:
    key = published.snapshot.key
    return Reply(
        status=201,
        headers={"location": f"/models/{key.name}"},
        body=Uploaded(
            model=key.name,
            revision=key.revision,
            source=key.source,
            bytes=published.bytes,
            files=published.files,
            replaced=published.replaced,
            warning=published.warning or UNSET,
        ),
        model=key.name,
    )
