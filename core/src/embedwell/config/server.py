"""What [server] must be beyond the types of its keys."""

import ipaddress
import re
from collections.abc import Iterator

from embedwell.config.hosts import in_force, is_loopback, is_pattern
from embedwell.config.schema import Server

UNIX = "unix"  # in trusted_proxies: whoever connects by the socket's file
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,]+")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def faults(server: Server) -> Iterator[str]:
    """Every reason why this server cannot run as it is meant to."""
    yield from _names(server)
    yield from _origins(server)
    yield from _proxies(server)
    if not _ROOT_PATH.fullmatch(server.root_path) or {".", ".."} & {*server.root_path.split("/")}:
        yield f'server.root_path: {server.root_path!r:.60}: write "/prefix", without a final slash'
    if server.data_dir.startswith("~"):
        yield f"server.data_dir: {server.data_dir!r:.60}: ~ is not expanded, write the path"
    if bool(server.tls_certificate) != bool(server.tls_key):
        missing = "tls_key" if server.tls_certificate else "tls_certificate"
        yield f"server.{missing}: missing: TLS needs tls_certificate and tls_key"


def hosts(server: Server) -> tuple[str, ...]:
    """The names that `server` answers to, ("*",) for all."""
    return in_force(server.host, server.allowed_hosts, local=bool(server.unix_socket))


def is_local(server: Server) -> bool:
    """Whether only this machine's users reach it: by the loopback interface or a socket's file."""
    return bool(server.unix_socket) or is_loopback(server.host)


def _names(server: Server) -> Iterator[str]:
    for name in server.allowed_hosts:
        if not is_pattern(name):
            yield (
                f"server.allowed_hosts: {name!r:.60}: write names without scheme and port, "
                '"*.name" for all below a name, or "*"'
            )
    proxied = server.unix_socket and server.trusted_proxies
    if (proxied or not is_local(server)) and not server.allowed_hosts:
        where = "behind a proxy" if proxied else f"on {server.host}"
        yield (
            f"server.allowed_hosts: missing: {where} say by which names clients call the "
            'server, ["embeddings.example.com"], or ["*"] for any'
        )


def _origins(server: Server) -> Iterator[str]:
    for origin in server.allowed_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin.lower()):
            yield (
                f"server.allowed_origins: {origin!r:.60}: write origins as a browser sends them, "
                '"https://app.example.com", or "*"'
            )


def _proxies(server: Server) -> Iterator[str]:
    for proxy in server.trusted_proxies:
        try:
            if proxy != UNIX:
                ipaddress.ip_network(proxy)
        except ValueError as error:
            yield (f'server.trusted_proxies: {error}: write "10.0.0.1", "10.0.0.0/8" or "{UNIX}"')
