"""What [server] must be beyond its types, and who may reach it."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from embedwell import Plugin
from embedwell.config.hosts import is_loopback
from embedwell.config.load import load
from embedwell.config.schema import Server
from embedwell.config.server import faults, hosts, is_local
from embedwell.errors import ConfigurationError
from embedwell.exposure import check, has_guard, may_guard
from embedwell.interfaces.plugins import Caller, RequestHead


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("LOCALHOST.", True), ("127.0.0.1", True), ("127.9.9.9", True),
     ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
     ("localhost.evil.example", False), ("host", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert is_local(Server(host=host)) is loopback
    assert is_local(Server(host=host, unix_socket="/run/e.sock"))


LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@pytest.mark.parametrize(
    ("server", "names"),
    [
        (Server(), LOOPBACK),
        (Server(host="127.0.0.2"), (*LOOPBACK, "127.0.0.2")),
        (Server(host="::1"), LOOPBACK),
        (Server(host="0.0.0.0", allowed_hosts=("A.example", "*.b.example")),
         (*LOOPBACK, "a.example", "*.b.example")),
        (Server(host="10.0.0.1", allowed_hosts=("a",)), (*LOOPBACK, "10.0.0.1", "a")),
        (Server(host="fd00:0::1", allowed_hosts=("a",)), (*LOOPBACK, "[fd00::1]", "a")),
        (Server(allowed_hosts=("a", "*")), ("*",)),
        (Server(unix_socket="/run/e.sock"), ("*",)),
        (Server(unix_socket="/run/e.sock", allowed_hosts=("a",)), (*LOOPBACK, "a")),
    ],
)  # fmt: skip
def test_names_in_force(server: Server, names: tuple[str, ...]) -> None:
    assert hosts(server) == names


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"host": "0.0.0.0"}, "server.allowed_hosts: missing: on 0.0.0.0 say by which names"),
        ({"allowed_hosts": ("http://a",)}, "server.allowed_hosts: 'http://a': write names without"),
        ({"allowed_hosts": ("a:8000",)}, "server.allowed_hosts: 'a:8000'"),
        ({"allowed_hosts": ("*a",)}, "server.allowed_hosts: '*a'"),
        ({"allowed_hosts": ("a.*.b",)}, "server.allowed_hosts: 'a.*.b'"),
        ({"allowed_origins": ("a.example",)}, "server.allowed_origins: 'a.example': write origins"),
        ({"allowed_origins": ("https://a/",)}, "server.allowed_origins: 'https://a/'"),
        ({"allowed_origins": ("null",)}, "server.allowed_origins: 'null'"),
        ({"data_dir": "~/data"}, "server.data_dir: '~/data': ~ is not expanded"),
        ({"root_path": "api"}, "server.root_path: 'api': write \"/prefix\""),
        ({"root_path": "/api/"}, "server.root_path: '/api/'"),
        ({"root_path": "/a/../b"}, "server.root_path: '/a/../b'"),
        ({"root_path": "/a b"}, "server.root_path: '/a b'"),
        ({"trusted_proxies": ("proxy",)}, "server.trusted_proxies: 'proxy' does not appear"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "server.trusted_proxies: 10.0.0.1/8 has host bits"),
        ({"tls_certificate": "a.pem"}, "server.tls_key: missing"),
        ({"tls_key": "a.key"}, "server.tls_certificate: missing"),
    ],
)
def test_faults_are_told(settings: dict[str, Any], reason: str) -> None:
    (told,) = faults(Server(**settings))
    assert told.startswith(reason)


def test_what_may_be_said_is_no_fault() -> None:
    server = Server(
        host="0.0.0.0",
        allowed_hosts=("a", "*.b.example", "fd00::1", "[fd00::2]", "10.0.0.1", "xn--bcher-kva.de"),
        allowed_origins=("https://a.example", "http://localhost:3000", "tauri://localhost", "*"),
        root_path="/api/v2",
        trusted_proxies=("10.0.0.1", "10.0.0.0/8", "fd00::/8", "unix"),
        tls_certificate="a.pem",
        tls_key="a.key",
    )
    assert list(faults(server)) == []


def test_the_file_and_the_environment_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[server]\nhost = "0.0.0.0"\nroot_path = "x"\n')
    with pytest.raises(ConfigurationError) as caught:
        load(path, {}, {})
    assert len(caught.value.reasons) == 2
    given = {
        "EMBEDWELL_SERVER__ALLOWED_HOSTS": '["a", "b"]',
        "EMBEDWELL_SERVER__ROOT_PATH": "/x",
        "EMBEDWELL_SERVER__ALLOW_UNAUTHENTICATED": "true",
    }
    server = load(path, given, {}).server
    assert (server.allowed_hosts, server.root_path) == (("a", "b"), "/x")
    assert server.allow_unauthenticated


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Open(Plugin):
    pass


class Guarding(Plugin):
    async def guard(self, head: RequestHead) -> Caller | None:
        return None


def made(config: Any, services: Any) -> Plugin:
    return Open(config, services)


def test_guards_are_seen_where_they_can_be() -> None:
    services: Any = None
    assert not has_guard([])
    assert not has_guard([("open", Open(Nothing(), services))])
    assert has_guard([("open", Open(Nothing(), services)), ("g", Guarding(Nothing(), services))])
    assert [may_guard(build) for build in (Open, Guarding, made)] == [False, True, True]


@pytest.mark.parametrize("server", [Server(), Server(unix_socket="/run/e.sock")])
def test_t36_what_is_local_needs_no_guard(server: Server) -> None:
    check(server, guarded=False)


def test_t36_what_is_not_needs_one_or_leave() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(Server(host="0.0.0.0"), guarded=False)
    (reason,) = caught.value.reasons
    for way in ("[plugins.auth]", "127.0.0.1 behind a proxy", "allow_unauthenticated = true"):
        assert way in reason
    check(Server(host="0.0.0.0"), guarded=True)
    check(Server(host="0.0.0.0", allow_unauthenticated=True), guarded=False)
