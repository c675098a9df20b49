"""The source: what was uploaded, and the routes that take uploads."""

from collections.abc import Sequence

from msgspec import structs

from embedwell import BaseServices, ModelRef, Mount, Route, Snapshot, Source
from embedwell_source_upload.config import Config
from embedwell_source_upload.receive import (
    ARCHIVES,
    SOURCE,
    Receiver,
    Uploaded,
    UploadForm,
)

ERRORS = ("CONFLICT", "INVALID_MODEL", "INSUFFICIENT_STORAGE")


class UploadSource(Source):
    """Models lie in the server's store, which also checks them."""

    def __init__(self, config: Config, services: BaseServices) -> None:
        super().__init__(config, services)
        self._store = services.store
        self._receiver = Receiver(config, services.store, services.clock)
        self._max_body = int(config.max_size_gb * 1e9)

    async def resolve(self, ref: ModelRef) -> Snapshot | None:
        """Whatever was published."""
        return await self._store.find(SOURCE, ref)

    async def models(self) -> Sequence[Snapshot]:
        """Every revision that is kept."""
        return await self._store.models(SOURCE)

    async def delete(self, ref: ModelRef) -> None:
        """Raises ModelNotFound, Conflict."""
        await self._store.remove(SOURCE, ref)

    def routes(self) -> Sequence[Route | Mount]:
        """A form by POST, an archive as the body itself by PUT."""
        form = Route(
            method="POST",
            path="/models/upload",
            handler=self._receiver.form,
            access="manage",
            summary="Upload a model as a form: the field model, then file",
            stream=True,
            accepts=("multipart/form-data",),
            query={"model": "the name to publish it under, where the form does not say"},
            max_body=self._max_body,
            form=UploadForm,
            headers={"location": "The path of the model"},
            replies={201: Uploaded},
            errors=ERRORS,
        )
        summary = "Upload a model as one archive, its name being ?model="
        return [
            form,
            structs.replace(
                form,
                method="PUT",
                handler=self._receiver.archive,
                summary=summary,
                accepts=ARCHIVES,
                form=None,
                query={"model": "the name to publish it under"},
            ),
        ]
