"""The parts of a form to a staged model, in the order in which they come."""

from collections.abc import Awaitable, Callable

from embedwell import BadRequest, Invalid, InvalidModel, PayloadTooLarge, Published, Staging
from embedwell_source_upload.files import Files, shown
from embedwell_source_upload.form import Data, End, Event, Part

MAX_NAME = 200  # bytes
NAME_FIRST = "Field required: model, in front of the files or as ?model= in the URL"

Stage = Callable[[str], Awaitable[Staging]]


class Intake:
    """`stage` is called once, with the model's name; `model` is what the URL says."""

    def __init__(self, stage: Stage, model: str | None) -> None:
        self._stage = stage
        self._model = model
        self._text: bytearray | None = None  # of the field that is being read
        self._staging: Staging | None = None
        self._files: Files | None = None

    async def take(self, event: Event) -> None:
        """Raises Invalid, BadRequest, PayloadTooLarge, and what the store raises."""
        match event:
            case Part(name="model"):
                self._begin_field()
            case Part(name="file", filename=filename):
                await (await self._opened()).begin(filename or "")
            case Part(name=name):
                raise Invalid(
                    f"Unknown field: {shown(name)}; a form has model and file", param=shown(name)
                )
            case Data(data):
                await self._add(data)
            case End():
                await self._end()

    async def publish(self) -> Published:
        """The complete model; raises Invalid, InvalidModel, and what the store raises."""
        if self._model is None:
            raise Invalid("Field required: model", param="model")
        if self._files is None or self._staging is None:
            raise Invalid("Field required: file", param="file")
        await self._files.finish()
        try:
            return await self._staging.publish()
        except InvalidModel as error:
            raise self._files.advised(error) from None

    def _begin_field(self) -> None:
        if self._model is not None:
            raise Invalid("The field model is given twice", param="model")
        self._text = bytearray()

    async def _opened(self) -> Files:
        if self._model is None:
            raise Invalid(NAME_FIRST, param="model")
        if self._files is None:
            self._staging = await self._stage(self._model)
            self._files = Files(self._staging)
        return self._files

    async def _add(self, data: bytes) -> None:
        if self._text is None:
            assert self._files is not None
            await self._files.add(data)
            return
        self._text += data
        if len(self._text) > MAX_NAME:
            raise PayloadTooLarge(f"The field model is longer than {MAX_NAME} bytes")

    async def _end(self) -> None:
        if self._text is None:
            assert self._files is not None
            await self._files.end()
            return
        try:
            self._model, self._text = self._text.decode(), None
        except UnicodeDecodeError:
            raise BadRequest("The field model is not valid UTF-8") from None
