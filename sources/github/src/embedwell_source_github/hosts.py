"""Which hosts may be connected to, at which addresses."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore

from embedwell import SourceError
from embedwell_source_github.failures import Transient
from embedwell_source_github.urls import Origin, Url

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Options = Iterable[httpcore.SOCKET_OPTION]
PUBLIC = {
    "api.github.com",
    "github.com",
    "codeload.github.com",
    "github-cloud.s3.amazonaws.com",  # where Git LFS objects lie
}
STORAGE = ".githubusercontent.com"
ATTEMPTS = 3  # addresses of one name
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Hosts:
    """GitHub's own hosts, by https alone, and the origins that the operator named."""

    def __init__(self, own: frozenset[Origin]) -> None:
        self._own = own
        self._private = {(origin.host, origin.port) for origin in own}

    def check(self, url: Url) -> None:
        """Raises SourceError for a host that nothing is fetched from."""
        origin = url.origin
        known = origin.host in PUBLIC or origin.host.endswith(STORAGE)
        if origin not in self._own and not (
            known and (origin.scheme, origin.port) == ("https", 443)
        ):
            raise SourceError(
                f"Refused to be sent to {origin.scheme}://{origin}: not a host of GitHub's "
                "(see storage_hosts in [sources.github])"
            )

    def may_be_private(self, host: str, port: int) -> bool:
        """Whether the operator named it, who may have it where no others may be."""
        return (host, port) in self._private


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once, refuses addresses that are not public, connects to those very ones."""

    def __init__(self, hosts: Hosts, resolve: Resolve) -> None:
        self._hosts = hosts
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """`timeout` is for the whole of it."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host, port)
                return await self._connect(addresses, port, local_address, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolve(host, port)
        except OSError:
            raise Transient(
                f"The name {host} could not be resolved: is the network there?"
            ) from None
        if not self._hosts.may_be_private(host, port) and not all(map(is_public, found)):
            raise SourceError(f"Refused to connect to {host}: its address is not a public one")
        return found[:ATTEMPTS]

    async def _connect(
        self, addresses: Sequence[str], port: int, local: str | None, options: Options | None
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, None, local, options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system has them; raises OSError."""
    loop = asyncio.get_running_loop()
    rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def is_public(address: str) -> bool:
    """Whether it is out on the internet; also what an IPv6 address wraps must be."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # with a zone, so local
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = _wrapped(found)
        if inner is not None:
            return is_public(str(inner))
    never = found.is_private or found.is_multicast or found.is_reserved or found.is_unspecified
    return found.is_global and not never


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
