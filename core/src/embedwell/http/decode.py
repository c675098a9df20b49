"""JSON to a Struct, and msgspec's complaints in the words of the contract."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from embedwell.errors import BadRequest, EmbedwellError, Invalid
from embedwell.http.choices import takes
from embedwell.http.envelope import shown

MISSING = re.compile(
    r"Object missing required field `(?P<field>[^`]*)`(?: - at `\$\.?(?P<at>.*)`)?"
)
AT = re.compile(r"(?P<what>.*) - at `\$\.?(?P<at>.*)`", re.DOTALL)
TRUNCATED = "The body's JSON is cut off, or an escape such as \\ud800 in it lacks its other half"
UNKNOWN = "Object contains unknown field"
LARGE = 256 * 1024  # bytes
DEEP = "The body's JSON is nested too deeply"


def decode(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    """Raises BadRequest for what is not JSON, Invalid for JSON that is not the Struct's."""
    if not body.strip():
        raise BadRequest("The body is empty: a JSON object is expected")
    try:
        body.decode()  # msgspec looks at known fields only
        if len(body) < LARGE:
            return decoder.decode(body)
        with _without_collector():
            return decoder.decode(body)
    except EmbedwellError:
        raise
    except msgspec.ValidationError as error:
        raise _invalid(str(error), decoder.type) from None
    except UnicodeDecodeError:
        raise BadRequest("The body is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise BadRequest(_malformed(str(error))) from None
    except RecursionError:
        raise BadRequest(DEEP) from None


def has_required(body: type[Any]) -> bool:
    """Whether there is a field without which it cannot be; else an absent body is an empty one."""
    plain = not issubclass(body, msgspec.Struct)
    return plain or any(field.required for field in msgspec.structs.fields(body))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Decoding makes millions of objects and no cycle: looking for one takes most of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _malformed(message: str) -> str:
    return TRUNCATED if message == "Input data was truncated" else shown(message)


def _invalid(message: str, body: Any) -> Invalid:
    missing = MISSING.fullmatch(message)
    if missing:
        field = ".".join(filter(None, (missing["at"], missing["field"])))
        return Invalid(f"Field required: {shown(field)}", param=shown(field))
    found = AT.fullmatch(message)
    if found is None or not found["at"]:
        more = takes(body, None) if message.startswith(UNKNOWN) else ""
        return Invalid(f"The body is not what this route takes: {_plain(message)}{more}")
    field = shown(found["at"])
    what = f"{_plain(found['what'])}{takes(body, field)}"
    return Invalid(f"Invalid value for {field}: {what}", param=_root(field))


def _plain(message: str) -> str:
    return shown(message.replace("`", "").replace("Expected", "expected"))


def _root(field: str) -> str:
    return re.split(r"[.\[]", field, maxsplit=1)[0]
