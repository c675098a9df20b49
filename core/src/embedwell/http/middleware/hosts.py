"""The name that a request is for: a page of another site must not reach us by a name of its own."""

import re
from collections.abc import Sequence
from functools import lru_cache

from embedwell.config.hosts import ANY
from embedwell.errors import Forbidden
from embedwell.http.asgi import App, Receive, Scope, Send, target, values
from embedwell.http.envelope import shown

LONGEST = 260  # bytes of a name and a port
KEPT = 256  # values whose verdict is remembered
HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{0,5})?")
AUTHORITY = re.compile(rb"[a-z]+://([^/?#]*)", re.IGNORECASE)


class Hosts:
    """Refuses what is for another name, or for none; raises Forbidden."""

    def __init__(self, names: Sequence[str]) -> None:
        self._any = ANY in names
        self._names = frozenset(n.encode() for n in names if not n.startswith("*."))
        self._ends = tuple(n[1:].encode() for n in names if n.startswith("*."))
        self._answers = lru_cache(KEPT)(self._is_own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        if not self._any:
            self._check(values(scope, b"host"), scope)
        await then(scope, receive, send)

    def _check(self, given: list[bytes], scope: Scope) -> None:
        if len(given) != 1 or not given[0]:
            raise Forbidden(f"The request has {'more than one' if given[1:] else 'no'} Host")
        raw = target(scope)
        if raw[:1] != b"/" and (authority := AUTHORITY.match(raw)):
            given = [*given, authority[1]]
        for name in given:
            if len(name) > LONGEST or not self._answers(name):
                text = shown(name.decode("latin-1"))
                raise Forbidden(f"This server does not answer to {text!a} (server.allowed_hosts)")

    def _is_own(self, given: bytes) -> bool:
        match = HOST.fullmatch(given.lower())
        if match is None:
            return False
        name = match[1].removesuffix(b".")
        return name in self._names or name.endswith(self._ends)
