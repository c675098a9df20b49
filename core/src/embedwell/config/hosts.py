"""Names and addresses: which of them are this machine's own, and which a server answers to."""

import ipaddress
import re

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
ANY = "*"
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; of a name other than localhost nothing is known."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def canonical(host: str) -> str:
    """As names are compared: lower case, no final dot, IPv6 short and in brackets."""
    name = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name
    return f"[{address}]" if address.version == 6 else str(address)


def is_pattern(text: str) -> bool:
    """Whether `text` may stand in `allowed_hosts`: "*", an address, a name, or "*.name"."""
    name = canonical(text)
    return name == ANY or _is_address(name) or _PATTERN.fullmatch(name) is not None


def in_force(host: str, allowed: tuple[str, ...], *, local: bool) -> tuple[str, ...]:
    """The names that are answered, ("*",) for all; `local` is a socket that no browser reaches.

    Names of the loopback interface and the address that is listened on are always among them: no
    page of another site can have them.
    """
    if ANY in allowed or (local and not allowed):
        return (ANY,)
    own = () if local or _is_wildcard(host) else (canonical(host),)
    return tuple(dict.fromkeys([*LOOPBACK, *own, *map(canonical, allowed)]))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
