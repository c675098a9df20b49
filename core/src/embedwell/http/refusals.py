"""The envelope for what never becomes a request: broken framing, a connection too many."""

from http import HTTPStatus

from embedwell.errors import BadRequest, EmbedwellError, HeadersTooLarge, Overloaded
from embedwell.http import envelope
from embedwell.http.answer import Header, content
from embedwell.http.middleware.limits import MAX_HEADERS
from embedwell.http.middleware.request_id import NAME, new_id


def refusal(error: EmbedwellError) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of an answer after which the connection ends."""
    request_id = new_id()
    reply = envelope.reply(error, request_id, v1=False)
    body = content(reply)
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    headers += [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (NAME, request_id.encode()),
    ]
    return reply.status, headers, body


def crowd() -> EmbedwellError:
    """What a connection too many is told."""
    return Overloaded("The server has too many connections at once; try again", retry_after=1)


def broken(status: HTTPStatus) -> EmbedwellError:
    """What is meant where a parser would send a bare `status`."""
    if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return HeadersTooLarge(f"The headers are larger than {MAX_HEADERS:,} bytes together")
    if status == HTTPStatus.HTTP_VERSION_NOT_SUPPORTED:
        return BadRequest("This server speaks HTTP/1.1 and HTTP/1.0")
    return BadRequest("The request is not valid HTTP/1.1")
