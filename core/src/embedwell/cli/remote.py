"""A running server, as the commands that need one ask it."""

import argparse
import http.client
import json
import os
import re
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from embedwell.bench.tls import advice
from embedwell.cli.setup import config_path
from embedwell.config.load import survey
from embedwell.errors import ConfigurationError, EmbedwellError

SECONDS = 30.0  # for one answer
LONGEST = 10_000_000  # bytes of an answer
MANAGING = "python -m embedwell_plugin_auth new NAME --scopes embed manage"
KEY = re.compile(r"[\x21-\x7e]+")
S = TypeVar("S", bound=Struct)


class RemoteError(EmbedwellError):
    """The server cannot be asked, or refused; `passing` where a later try may succeed."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(printable(message))
        self.passing = passing


class Server:
    """One server; `url` as it is shown and asked. Raises RemoteError for a URL that is none."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        try:
            parts = urlsplit(self.url)
            self._port = parts.port
        except ValueError:
            raise _no_url(url) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
            raise _no_url(url)
        if parts.query or parts.fragment or "@" in parts.netloc or not url.isprintable():
            raise _no_url(url)
        self._host, self._prefix, self._secure = parts.hostname, parts.path, parts.scheme == "https"
        self._headers = _headers(key)
        self.has_key = bool(key)

    def ask(self, method: str, path: str, shape: type[S], body: object = None) -> S:
        """The answer as a Struct; raises RemoteError with what the server said."""
        status, content = self._exchange(method, path, body)
        if not 200 <= status < 300:
            raise _refusal(self.url, status, content)
        try:
            return msgspec.json.decode(content, type=shape)
        except msgspec.DecodeError:
            raise RemoteError(f"{self.url} answered what no Embedwell does: check --url") from None

    def _exchange(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=SECONDS)
        sent = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._prefix + path, sent, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read(LONGEST)
        except TimeoutError:
            raise RemoteError(
                f"{self.url} did not answer within {SECONDS:.0f} s", passing=True
            ) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise _unreachable(self.url, error) from None
        finally:
            connection.close()


def server(arguments: argparse.Namespace) -> Server:
    """`--url`, else EMBEDWELL_URL, else this machine at the configuration's port."""
    url = arguments.url or os.environ.get("EMBEDWELL_URL") or _configured(arguments)
    return Server(url, os.environ.get("EMBEDWELL_API_KEY", "").strip())


def printable(text: str) -> str:
    """What a server says, without anything that would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:2_000])


def _configured(arguments: argparse.Namespace) -> str:
    config, reasons = survey(config_path(arguments.config), os.environ, {})
    if reasons:
        raise ConfigurationError(reasons)
    settings = config.server
    if settings.unix_socket:
        raise RemoteError("server.unix_socket is set, and this asks by URL: say --url")
    if not settings.port:
        raise RemoteError("server.port is 0, any free port: say --url http://HOST:PORT")
    if settings.tls_certificate:
        raise RemoteError(
            "server.tls_certificate is set: say --url https://NAME:PORT, with the name that it has"
        )
    return f"http://127.0.0.1:{settings.port}"


def _headers(key: str) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "application/json"}
    if not key:
        return headers
    if not KEY.fullmatch(key):
        raise RemoteError("EMBEDWELL_API_KEY has characters that no key may have")
    return headers | {"authorization": f"Bearer {key}"}


def _no_url(url: str) -> RemoteError:
    return RemoteError(f"{url[:200]}: not a server's URL: say http://HOST:PORT")


def _unreachable(url: str, error: Exception) -> RemoteError:
    if told := advice(error):
        return RemoteError(f"{url} cannot be reached: {told}")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return RemoteError(
        f"{url} cannot be reached: {reason}; is the server running there? "
        "(--url or EMBEDWELL_URL names another)",
        passing=True,
    )


def _refusal(url: str, status: int, content: bytes) -> RemoteError:
    passing = status in (408, 429, 503)
    detail = _detail(content)
    if detail is None:
        name = HTTPStatus(status).phrase if status in list(HTTPStatus) else "no status there is"
        return RemoteError(f"{url} answered {status} ({name}): check --url", passing=passing)
    told = detail.replace("GET /models", f"curl {url}/models")  # of that server, not of this one
    return RemoteError(f"{told}{_hint(status, detail)}", passing=passing)


def _hint(status: int, detail: str) -> str:
    if status == 403 and "scope" in detail:
        return f" (EMBEDWELL_API_KEY is sent as the key; one that may: {MANAGING})"
    return " (EMBEDWELL_API_KEY is sent as the key)" if status in (401, 403) else ""


def _detail(content: bytes) -> str | None:
    try:
        told: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    detail = told.get("detail") if isinstance(told, dict) else None
    return detail if isinstance(detail, str) else None
