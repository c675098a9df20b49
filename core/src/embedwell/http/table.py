"""Which Route or Mount a path and method lead to."""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from embedwell.errors import BadRequest, MethodNotAllowed, NotFound, PluginError
from embedwell.http.context import Match
from embedwell.http.envelope import shown
from embedwell.http.paths import segments
from embedwell.interfaces.routes import Mount, Route

VARIABLE = re.compile(r"<([a-z][a-z0-9_]*)>")
TAG = "tag"
EVERY = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class Pattern(Struct, frozen=True):
    """A Route's path in parts; `<tag>` takes one part or more, any other variable exactly one."""

    path: str
    parts: tuple[str, ...]
    names: tuple[str | None, ...]

    @classmethod
    def of(cls, path: str) -> "Pattern":
        parts = tuple(path.strip("/").split("/")) if path.strip("/") else ()
        found = [VARIABLE.fullmatch(part) for part in parts]
        names = tuple(match.group(1) if match else None for match in found)
        if not path.startswith("/") or names.count(TAG) > 1 or "" in parts:
            raise PluginError(f"{path!r} is no path for a route")
        return cls("/" + "/".join(parts), parts, names)

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts the most literal pattern first."""
        return (self.names.count(TAG), -self.names.count(None))

    def match(self, given: Sequence[str]) -> Mapping[str, str] | None:
        """The path's variables, or None where the path is another."""
        if TAG in self.names:
            given = self._folded(given)
        if len(given) != len(self.parts):
            return None
        args = {}
        for part, name, value in zip(self.parts, self.names, given, strict=True):
            if name is None and part != value:
                return None
            if name is not None:
                if name != TAG and "/" in value:
                    return None
                args[name] = value
        return args

    def _folded(self, given: Sequence[str]) -> Sequence[str]:
        first = self.names.index(TAG)
        last = len(given) - (len(self.parts) - first - 1)
        if last <= first:
            return ()
        return [*given[:first], "/".join(given[first:last]), *given[last:]]


class RouteTable:
    """All routes and mounts; `find` reads nothing but the request line."""

    def __init__(self, routes: Sequence[Route | Mount]) -> None:
        self._routes: dict[Pattern, dict[str, Route]] = {}
        mounts = []
        for route in routes:
            if isinstance(route, Mount):
                mounts.append((Pattern.of(route.prefix), route))
            else:
                self._add(route)
        self._exact = {p.parts: p for p in self._routes if not any(p.names)}
        self._plain = {  # what most requests ask for, as it is sent
            (method, pattern.path.encode()): Match(pattern.path, pattern.path, route.access, route)
            for pattern in self._exact.values()
            for method, route in self._routes[pattern].items()
        }
        self._open = sorted((p for p in self._routes if any(p.names)), key=lambda p: p.rank)
        self._mounts = sorted(mounts, key=lambda m: -len(m[0].parts))

    def _add(self, route: Route) -> None:
        methods = self._routes.setdefault(Pattern.of(route.path), {})
        if route.method in methods:
            raise PluginError(f"Two plugins have a route {route.method} {route.path}")
        methods[route.method] = route

    def find(self, method: str, raw: bytes) -> Match:
        """Raises NotFound, MethodNotAllowed, or BadRequest for a path that nothing may have."""
        return self._plain.get((method, raw)) or self._find(method, raw)

    def _find(self, method: str, raw: bytes) -> Match:
        given = segments(raw)
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for pattern, args in self._matching(given):
            route = self._routes[pattern].get(wanted)
            if route:
                path = "/" + "/".join(given)
                return Match(path, pattern.path, route.access, route=route, args=args)
            allowed |= self._routes[pattern].keys()
        return self._mounted(given) or _refuse(method, given, allowed)

    def mounted(self, raw: bytes) -> Match:
        """As `find`, among mounts only: what a WebSocket may reach."""
        given = segments(raw)
        return self._mounted(given) or _refuse("GET", given, set())

    def methods(self, raw: bytes) -> set[str]:
        """Those that a path has, a Mount's all; raises NotFound, BadRequest."""
        given = segments(raw)
        found = {m for pattern, _ in self._matching(given) for m in self._routes[pattern]}
        if not found and self._mounted(given):
            return set(EVERY)
        if not found:
            _refuse("OPTIONS", given, found)
        return found | {"HEAD"} if "GET" in found else found

    def _matching(self, given: Sequence[str]) -> Iterator[tuple[Pattern, Mapping[str, str]]]:
        exact = self._exact.get(tuple(given))
        if exact:
            yield exact, {}
        for pattern in self._open:
            args = pattern.match(given)
            if args is not None:
                yield pattern, args

    def _mounted(self, given: Sequence[str]) -> Match | None:
        if any("/" in part for part in given):
            return None
        for prefix, mount in self._mounts:
            if tuple(given[: len(prefix.parts)]) == prefix.parts:
                path = "/" + "/".join(given)
                return Match(path, prefix.path, mount.access, app=mount.app)
        return None


def _refuse(method: str, given: Sequence[str], allowed: set[str]) -> Match:
    path = shown("/" + "/".join(given))
    if allowed:
        allow = sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)
        asked = f"{shown(method, 20)} {path}"
        raise MethodNotAllowed(f"Method not allowed: {asked}; it has {', '.join(allow)}", allow)
    if any("/" in part for part in given):
        raise BadRequest("The path has an encoded slash outside of a model's tag")
    raise NotFound(f"Route not found: {path}; GET /docs lists those there are")
