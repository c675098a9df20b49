"""The files of one upload: an archive, or the files of a model one by one."""

import re
import tarfile

from embedwell import Invalid, InvalidModel, Staging
from embedwell_source_upload.sink import Sink

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
GZIP = b"\x1f\x8b"
NO_ARCHIVE = (
    "The file is neither a zip nor a tar archive (.zip, .tar, .tar.gz); "
    "loose files of a model are sent as several parts named file"
)
IN_FOLDER = re.compile(r"\S+/\S+ is missing")
FOLDERS = (
    "the folder of a loose file is sent in its file name "
    "(curl: -F 'file=@1_Pooling/config.json;filename=1_Pooling/config.json'), "
    "or an archive of them all"
)


class Files:
    """Which of the two it is, the first bytes of the first file say."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._names: set[str] = set()
        self._archive: bool | None = None
        self._name = ""
        self._sink = Sink(self._write)

    async def begin(self, name: str) -> None:
        """Raises Invalid for a second file beside an archive, or two of one name."""
        if self._archive:
            raise Invalid("An archive must be the only file of an upload", param="file")
        same = "/".join(part for part in name.split("/") if part not in ("", "."))
        if same in self._names:
            raise Invalid(f"Two files are named {shown(name)}; {FOLDERS}", param="file")
        self._names.add(same)
        self._name = name
        self._sink = Sink(self._write)

    async def add(self, data: bytes) -> None:
        """More of the file that began last."""
        await self._sink.add(data)

    async def end(self) -> None:
        """That file is complete."""
        await self._sink.flush()

    async def finish(self) -> None:
        """Take the archive apart; raises Invalid, InvalidModel."""
        if not self._names:
            raise Invalid("Field required: file", param="file")
        if self._archive:
            await self._staging.unpack()
        elif len(self._names) == 1:
            raise InvalidModel(NO_ARCHIVE)

    def advised(self, refused: InvalidModel) -> InvalidModel:
        """With what to do where one of loose files seems to have lost its folder."""
        if self._archive or not IN_FOLDER.match(refused.message):
            return refused
        return InvalidModel(f"{refused.message}; {FOLDERS}")

    async def _write(self, data: bytes) -> None:
        if self._archive is None:
            self._archive = is_archive(data)
        if self._archive:
            await self._staging.keep(data)
        elif self._name:
            await self._staging.write(self._name, data)
        else:
            raise Invalid("A loose file needs a file name", param="file")


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with `head` (512 bytes or all of it) is a zip, gzip or tar."""
    if head.startswith(ZIP) or head.startswith(GZIP):
        return True
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def shown(text: str) -> str:
    """A client's words, cut to what a message may repeat."""
    return text if len(text) <= 100 else f"{text[:97]}..."
