"""A multipart body to events, as it arrives; holds no more than a part's headers."""

from collections.abc import Sequence

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from embedwell import BadRequest, PayloadTooLarge, UnsupportedMediaType

MAX_PARTS = 1_001  # a model has at most 1,000 files
MULTIPART = "multipart/form-data"


class Part(Struct, frozen=True):
    """A part begins; `filename` is None where it is no file."""

    name: str
    filename: str | None


class Data(Struct, frozen=True):
    """More of the part's content."""

    data: bytes


class End(Struct, frozen=True):
    """The part is complete."""


Event = Part | Data | End


class Form:
    """Raises UnsupportedMediaType, or BadRequest for a Content-Type without a boundary."""

    def __init__(self, content_type: str) -> None:
        self._events: list[Event] = []
        self._headers: dict[str, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._parts = 0
        self._complete = False
        self._parser = self._make(_boundary(content_type))

    def _make(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_field,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._add,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise BadRequest("The boundary of the Content-Type is too long") from None

    def feed(self, chunk: bytes) -> Sequence[Event]:
        """What `chunk` comes to; raises BadRequest, PayloadTooLarge."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise BadRequest("The multipart body is malformed") from None
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Raises BadRequest where the final boundary is missing: the body was cut off."""
        if not self._complete:
            raise BadRequest("The multipart body ends before its final boundary")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise PayloadTooLarge(f"The form has more than {MAX_PARTS:,} parts")
        self._headers = {}

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        kind, options = parse_options_header(
            self._headers.get("content-disposition", b"").decode("latin-1")
        )
        if kind != b"form-data" or b"name" not in options:
            raise BadRequest("A part of the form has no name")
        filename = options.get(b"filename")
        self._events.append(
            Part(_text(options[b"name"]), None if filename is None else _text(filename))
        )

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._events.append(Data(data[start:end]))

    def _close(self) -> None:
        self._events.append(End())

    def _end(self) -> None:
        self._complete = True


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != MULTIPART.encode():
        raise UnsupportedMediaType(
            f"The Content-Type must be {MULTIPART}; an archive as the body itself is sent with PUT"
        )
    if not options.get(b"boundary"):
        raise BadRequest("The Content-Type has no boundary")
    return options[b"boundary"]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest("A name in the form is not valid UTF-8") from None
