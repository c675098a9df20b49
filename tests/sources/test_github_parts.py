"""The GitHub source's parts: addresses, URLs, settings, pointers, which files."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpcore
import msgspec
import pytest

from embedwell import Invalid, InvalidModel, SourceError
from embedwell_source_github import files, lfs
from embedwell_source_github.api import Asset
from embedwell_source_github.client import Ask, Client
from embedwell_source_github.config import Access, Config, Env, access
from embedwell_source_github.hosts import Hosts, PinnedNetwork, is_public, system_resolver
from embedwell_source_github.meter import Meter
from embedwell_source_github.names import Body, wanted
from embedwell_source_github.urls import Origin, Url, follow, parse
from tests.sources.github_trees import pointer
from tests.sources.github_trouble import canary


@pytest.mark.parametrize("address", ["140.82.121.4", "8.8.8.8", "2606:50c0:8000::153", "::ffff:8.8.8.8",
                                     "64:ff9b::808:808", "2002:808:808::1"])  # fmt: skip
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2001:db8::1", "2001:0:7f00:1::", "::127.0.0.1", "", "localhost", "1.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_out_on_the_internet(address: str) -> None:
    assert not is_public(address)


async def test_a_name_that_resolves_to_the_loopback_is_not_connected_to() -> None:
    async with canary() as bird:

        async def resolve(host: str, port: int) -> Sequence[str]:
            return ["140.82.121.4", "127.0.0.1"]

        network = PinnedNetwork(Hosts(frozenset()), resolve)
        with pytest.raises(
            SourceError, match=r"connect to github.com: its address is not a public"
        ):
            await network.connect_tcp("github.com", bird.port)


async def test_the_operators_own_host_may_be_private_at_its_port_alone() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def resolve(host: str, port: int) -> Sequence[str]:
        assert host == "git.corp.example"
        return ["127.0.0.1"]

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server, canary() as bird:
        port = server.sockets[0].getsockname()[1]
        own = Hosts(frozenset([Origin("http", "git.corp.example", port)]))
        stream = await PinnedNetwork(own, resolve).connect_tcp("git.corp.example", port)
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
        await stream.aclose()
        with pytest.raises(SourceError, match="not a public one"):
            await PinnedNetwork(own, resolve).connect_tcp("git.corp.example", bird.port)


async def test_names_that_cannot_be_resolved_or_take_too_long() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError

    async def slow(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    hosts = Hosts(frozenset())
    with pytest.raises(SourceError, match=r"The name github.com could not be resolved"):
        await PinnedNetwork(hosts, unknown).connect_tcp("github.com", 443)
    with pytest.raises(httpcore.ConnectTimeout):
        await PinnedNetwork(hosts, slow).connect_tcp("github.com", 443, timeout=0.01)


async def test_the_systems_resolver() -> None:
    assert await system_resolver("127.0.0.1", 80) == ["127.0.0.1"]


def test_hosts_by_https_alone_or_named_by_the_operator() -> None:
    hosts = Hosts(frozenset([Origin("http", "git.corp.example", 8080)]))
    for allowed in ("https://github.com/x", "https://media.githubusercontent.com/x?y=z",
                    "https://github-cloud.s3.amazonaws.com/", "http://git.corp.example:8080/x"):  # fmt: skip
        hosts.check(url(allowed))
    for refused in ("http://github.com/", "https://github.com:444/", "https://githubusercontent.com/",
                    "https://x.s3.amazonaws.com/", "https://git.corp.example:8080/",
                    "http://git.corp.example/", "http://git.corp.example:8081/"):  # fmt: skip
        with pytest.raises(SourceError, match=r"Refused to be sent to .* not a host of GitHub's"):
            hosts.check(url(refused))


def url(text: str) -> Url:
    found = parse(text)
    assert found is not None
    return found


def test_urls() -> None:
    assert parse("https://GitHub.com") == Url(Origin("https", "github.com", 443), "/")
    assert parse("http://a:81?x=1#y") == Url(Origin("http", "a", 81), "/?x=1")
    assert str(parse("https://a:444/secret?token=x")) == "a:444"
    assert url("https://a/api/v3/").at("/repos") == Url(Origin("https", "a", 443), "/api/v3/repos")
    base = url("https://a/b")
    assert follow(base, "/c?d=1#e") == url("https://a/c?d=1")
    assert follow(base, "https://d/") == url("https://d/")
    for bad in ("//d/", "c", "", "/\\d", "/a b", "https://d\\@a/", "https://d/a\\b", "https://u@d/", "https://d:0/",
                "https://d:99999/", "https://[::1]/", "https://-d/", "https://d/\x7f", "HTTPS//d"):  # fmt: skip
        assert follow(base, bad) is None, bad


def settings(environ: dict[str, str] | None = None, **values: Any) -> Access:
    return access(msgspec.convert(values, Config), environ or {})


def test_where_github_is() -> None:
    public = settings()
    assert (public.api, public.web) == (url("https://api.github.com"), url("https://github.com"))
    assert public.own == frozenset()
    server = settings(
        api_url="https://git.corp.example/api/v3", storage_hosts=["s3.corp.example:9000"]
    )
    assert server.web == url("https://git.corp.example")
    assert {str(origin) for origin in server.own} == {"git.corp.example", "s3.corp.example:9000"}
    cloud = settings(api_url="https://api.acme.ghe.com/")
    assert cloud.web == url("https://acme.ghe.com")
    assert settings(web_url="http://127.0.0.1:9").own == {Origin("http", "127.0.0.1", 9)}


def test_the_token_comes_by_reference_and_is_never_shown() -> None:
    assert settings().token is None
    assert settings({"GITHUB_TOKEN": "ghp_x\n"}).token == "ghp_x"
    assert settings({"GITHUB_TOKEN": "ghp_x"}, token="ghp_y").token == "ghp_y"
    with pytest.raises(ValueError, match="the environment variable MINE is not set"):
        access(Config(token=Env("MINE")), {})
    with pytest.raises(ValueError, match="token: has characters that no token has") as caught:
        settings({"GITHUB_TOKEN": "ghp\nx"})
    assert "ghp" not in str(caught.value)
    assert "ghp_y" not in repr(Config(token="ghp_y"))
    assert "ghp_y" not in repr(settings(token="ghp_y"))


@pytest.mark.parametrize(
    "values",
    [{"api_url": "file:///etc"}, {"api_url": "https://[::1]/"}, {"api_url": "https://a/?b"},
     {"web_url": "https://u@a/"}, {"storage_hosts": ["https://a"]}, {"storage_hosts": ["a:99999"]},
     {"token": {"env": "A B"}}, {"max_concurrent": 0}, {"stall_seconds": 0}, {"unknown": 1}],
)  # fmt: skip
def test_settings_are_bounded(values: dict[str, Any]) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        settings(**values)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "owner"),
        ({"owner": "a"}, "repo"),
        ({"repository": "a/b", "owner": "a"}, "repository"),
        *(({"repository": bad}, "repository") for bad in (
            "", "a", "/", "a/", "/b", "a/b/c", "https://github.com/a/b", "http://127.0.0.1:1/x",
            "file:///etc/passwd", "ext::sh -c x", "--upload-pack", "--upload-pack/x", "a/--upload-pack",
            "owner/../x", "owner/..", "owner/.", "owner/repo;x", "owner/repo?x", "owner/repo#x",
            "owner/re po", "owner/repo\n", "owner@evil/x", "owner/%2e%2e", "a\\b/c", "é/b",
            "git@github.com:a/b", "a" * 40 + "/b", "a/" + "b" * 101,
        )),
        ({"owner": "a/b", "repo": "c"}, "owner"),
        ({"owner": "-a", "repo": "c"}, "owner"),
        ({"owner": "a", "repo": "../c"}, "repo"),
        ({"owner": "a", "repo": ".."}, "repo"),
        *(({"repository": "a/b", "revision": bad}, "revision") for bad in (
            "", "..", "../..", "a/../b", "/a", "a/", "a//b", "-a", "--upload-pack", "a b", "a?b",
            "a#b", "a%2e", "./a", "a/.", "x" * 129, "refs/heads/é", "main\n", "main@{1}",
        )),
        *(({"repository": "a/b", "model": "m", "subfolder": bad}, "subfolder") for bad in (
            "", "/etc", "..", "../..", "a/../b", "a//b", "a/", "./a", "-rf", "a b", "a\\b", "C:\\x",
            "/".join("abcdefghi"), "x" * 101,
        )),
        ({"repository": "a/b", "subfolder": "x"}, "model"),
        ({"repository": "a/.github"}, "model"),
        *(({"repository": "a/b", "model": bad}, "model") for bad in (
            "", "a/b/c", "../a", "a@main", "github:a", "-a", ".a", "a b",
        )),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_bad_requests_are_refused_by_the_name_of_the_field(
    body: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        wanted(msgspec.convert(body, Body))
    assert caught.value.param == field
    assert field in caught.value.message


def test_names_as_github_has_them() -> None:
    for body in (Body(repository="a-b/c.d_e-f"), Body(repository="octo_acme/x"),
                 Body(owner="a", repo="b", revision="refs/heads/feat-1.2/x"),
                 Body(repository="a/.github", model="x", subfolder=".models/v1.2")):  # fmt: skip
        assert wanted(body).revision == body.revision


def test_what_two_requests_for_the_same_work_have_in_common() -> None:
    plain = wanted(Body(repository="a/b"))
    assert plain == wanted(Body(owner="a", repo="b"))
    assert plain.key == "a/b"
    full = wanted(Body(repository="a/b", revision="v1", subfolder="c/d", model="e"))
    assert full.key == "a/b@v1:c/d as e"


def test_pointers(tmp_path: Path) -> None:
    def read(data: bytes) -> lfs.Pointer | None:
        (tmp_path / "file").write_bytes(data)
        return lfs.pointer(tmp_path, "file")

    oid = "0123456789abcdef" * 4
    assert read(pointer(oid, 12)) == lfs.Pointer("file", oid, 12)
    extended = pointer(oid, 12).replace(b"oid", b"ext-0-foo sha256:1\noid")
    assert read(extended) == lfs.Pointer("file", oid, 12)
    assert read(b"") is None
    assert read(b"{}") is None
    for bad in (pointer(oid[1:], 12), pointer(oid, 10**18), pointer(oid, 1) + b"more",
                pointer(oid, 1).replace(b"sha256", b"sha1"), b"version https://git-lfs.github.com/spec/v2\n"):  # fmt: skip
        with pytest.raises(InvalidModel, match="file is a Git LFS pointer that cannot be read"):
            read(bad)


def test_which_files_are_a_models() -> None:
    for name in ("config.json", "1_Pooling/config.json", "2_Dense/model.safetensors", "vocab.txt",
                 "0_Transformer/sentence_bert_config.json", "model-00001-of-00002.safetensors"):  # fmt: skip
        assert files.wanted(name), name
    for name in ("README.md", "modeling.py", "pytorch_model.bin", "src/config.json", "../config.json",
                 "package.json", "adapter_model.safetensors", "a/b/config.json", "config.json\n"):  # fmt: skip
        assert not files.wanted(name), name


def test_which_files_of_a_release() -> None:
    assets = [Asset(i, n, 1) for i, n in enumerate(["model.safetensors", "config.json", "x.exe"])]
    assert files.loose(assets, ["config.json"]) == assets[:1]
    assert files.loose(assets[1:], []) == []
    assert files.archive(assets, "a/b") is None
    assert Asset(1, "x", 1, "sha256:ab").sha256 == "ab"
    assert Asset(1, "x", 1, "md5:ab").sha256 is None


def test_the_meter_tells_and_limits() -> None:
    told: list[tuple[int, int | None]] = []
    meter = Meter(100, lambda done, total: told.append((done, total)))
    meter.add(10)
    meter.expect(50)
    meter.add(50)
    meter.add(20)
    assert told == [(10, None), (10, 60), (60, 60), (80, None)]
    with pytest.raises(InvalidModel, match=r"larger than 1e-07 GB \(max_size_gb"):
        meter.expect(21)
    with pytest.raises(InvalidModel, match="larger than"):
        meter.add(21)


@pytest.mark.system
async def test_the_certificate_must_be_for_the_name_not_the_address(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=DNS:git.corp.example"],
        capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)
    names: list[str | None] = []
    served.sni_callback = lambda _, name, __: names.append(name)
    heads: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=served) as server:
        port = server.sockets[0].getsockname()[1]
        origins = [Origin("https", name, port) for name in ("git.corp.example", "other.example")]
        tls = ssl.create_default_context(cafile=str(certificate))
        client = Client(Hosts(frozenset(origins)), resolve, tls=tls, stall=30, clock=time.monotonic)
        async with client:
            async with client.send(Ask(url=Url(origins[0], "/x"))) as answer:
                assert await answer.read(10) == b"hi"
            with pytest.raises(SourceError, match=r"other.example:\d+ could not be reached"):
                async with client.send(Ask(url=Url(origins[1], "/x"))):
                    pass
    assert names == ["git.corp.example", "other.example"]
    assert len(heads) == 1
    assert f"Host: git.corp.example:{port}\r\n".encode() in heads[0]
