"""HTTP with redirects followed by hand, bounded in time and size; knows nothing of GitHub."""

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpcore
from msgspec import Struct

from embedwell import SourceError
from embedwell_source_github import __version__
from embedwell_source_github.failures import Transient
from embedwell_source_github.hosts import Hosts, PinnedNetwork, Resolve
from embedwell_source_github.urls import Origin, Url, follow

log = logging.getLogger("embedwell.source.github")

REDIRECTS = 3
KEEPING_METHOD = {307, 308}
MOVED = {301, 302, 303} | KEEPING_METHOD
BLOCK = 2**20  # bytes that are handed on at once
SLOWEST = 1024  # bytes a second
CHECK = "check the server's network (it connects directly, HTTPS_PROXY is not used)"


class Ask(Struct, frozen=True, kw_only=True):
    """A request; `private` headers are sent to the origin of `url` and to no other."""

    url: Url
    method: str = "GET"
    headers: Mapping[str, str] = {}
    private: Mapping[str, str] = {}
    body: bytes | None = None


class Answer:
    """A status, headers by lower-case name, and a body that is still to be read."""

    def __init__(
        self, response: httpcore.Response, origin: Origin, stall: float, clock: Callable[[], float]
    ) -> None:
        self.status = response.status
        self.headers = {
            k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers
        }
        self._chunks = response.aiter_stream()
        self._waited, self._got = 0.0, 0
        self._origin = origin
        self._stall = stall
        self._clock = clock

    @property
    def length(self) -> int:
        """Bytes of the body; 0 where it does not say."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() and len(text) < 20 else 0

    async def read(self, limit: int) -> bytes:
        """All of it; raises SourceError where it is longer than `limit`."""
        data = b""
        while block := await self.block():
            data += block
            if len(data) > limit:
                raise SourceError(f"{self._origin} sent an answer that is too long")
        return data

    async def block(self) -> bytes:
        """About the next MiB, b"" at the end.

        Raises SourceError when it stalls or crawls, Transient when it breaks off.
        """
        block = bytearray()
        while len(block) < BLOCK and (chunk := await self._chunk()):
            block += chunk
        return bytes(block)

    async def _chunk(self) -> bytes | None:
        began = self._clock()
        with failures(self._origin, self._stall):
            chunk = await anext(self._chunks, None)
        self._waited += self._clock() - began  # not what the disk took
        self._got += len(chunk or b"")
        if self._waited >= self._stall:
            if self._got < self._waited * SLOWEST:
                raise SourceError(f"{self._origin} sends too slowly: the download was given up")
            self._waited, self._got = 0.0, 0
        return chunk


class Client:
    """Requests of one task; use as a context manager. No proxy, cookie or environment counts."""

    def __init__(
        self,
        hosts: Hosts,
        resolve: Resolve,
        *,
        tls: ssl.SSLContext,
        stall: float,
        clock: Callable[[], float],
    ) -> None:
        self._hosts = hosts
        self._stall = stall
        self._clock = clock
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=4,
            keepalive_expiry=5.0,
            network_backend=PinnedNetwork(hosts, resolve),
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    @asynccontextmanager
    async def send(self, ask: Ask) -> AsyncIterator[Answer]:
        """The answer after at most three redirects, each to a host that may be asked."""
        url = ask.url
        for _ in range(REDIRECTS + 1):
            async with self._once(ask, url) as answer:
                if answer.status not in MOVED:
                    yield answer
                    return
                url = _next(ask, url, answer)
        raise SourceError(f"{ask.url} redirects more than {REDIRECTS} times")

    @asynccontextmanager
    async def _once(self, ask: Ask, url: Url) -> AsyncIterator[Answer]:
        self._hosts.check(url)
        agent = f"embedwell/{__version__}"
        headers = {"User-Agent": agent, "Accept-Encoding": "identity", **ask.headers}
        if url.origin == ask.url.origin:
            headers |= ask.private
        request = self._pool.stream(
            ask.method,
            httpcore.URL(
                scheme=url.origin.scheme,
                host=url.origin.host,
                port=url.origin.port,
                target=url.target,
            ),
            headers=list(headers.items()),
            content=ask.body,
            extensions={
                "timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._stall)
            },
        )
        with failures(url.origin, self._stall):
            response = await request.__aenter__()
        try:
            yield Answer(response, url.origin, self._stall, self._clock)
        finally:
            await request.__aexit__(None, None, None)


def _next(ask: Ask, url: Url, answer: Answer) -> Url:
    target = follow(url, answer.headers.get("location", ""))
    if target is None:
        raise SourceError(f"{url} redirects to what is not an address")
    if ask.method != "GET" and answer.status not in KEEPING_METHOD:
        raise SourceError(f"{url} redirects a request that may not be redirected")
    return target


@contextmanager
def failures(origin: Origin, stall: float) -> Iterator[None]:
    """The network's exceptions in words; the log has their own."""
    try:
        yield
    except httpcore.ConnectTimeout:
        raise SourceError(f"{origin} could not be reached within {stall:g} s: {CHECK}") from None
    except httpcore.TimeoutException:
        raise SourceError(f"{origin} sent nothing for {stall:g} s") from None
    except httpcore.ConnectError as error:
        log.info("%s could not be reached: %s", origin, error)
        raise Transient(f"{origin} could not be reached: {CHECK}") from None
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
        log.info("%s broke off: %s", origin, error)
        raise Transient(f"{origin} broke the connection off before the end") from None
    except httpcore.LocalProtocolError:  # its text would show the header, which may be a secret
        raise SourceError(f"A request to {origin} cannot be made: a header is malformed") from None
