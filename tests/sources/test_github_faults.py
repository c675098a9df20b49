"""The GitHub source against a GitHub that fails: clear errors, nothing left, and a clean retry."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count, product
from pathlib import Path

import pytest

from embedwell import Conflict, ModelRef
from embedwell.config.schema import Store
from embedwell.models.files import Files
from tests.sources.github_driver import TINY, Driver, driving, model
from tests.sources.github_server import (
    COMMIT,
    STORAGE_HEADER,
    Fault,
    GitHub,
    Repository,
    Response,
    github,
    send,
)
from tests.sources.github_trouble import (
    canary,
    damage,
    drop,
    endless,
    hang,
    lengthen,
    redirect,
    shorten,
    silence,
    status,
)

SECRET = "ghp_secretsecretsecret"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)


@pytest.fixture
async def server() -> AsyncIterator[GitHub]:
    async with github() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return model(tmp_path / "original")


@pytest.fixture
def repository(server: GitHub, files: dict[str, bytes]) -> Repository:
    """Private; its weights are in Git LFS."""
    made = server.add(TINY, {}, token=SECRET)
    made.trees[COMMIT] = {**files, "model.safetensors": made.lfs(files["model.safetensors"])}
    return made


@pytest.fixture
async def driver(server: GitHub, repository: Repository, tmp_path: Path) -> AsyncIterator[Driver]:
    async with driving(tmp_path / "own", server) as made:
        yield made


def times(fault: Fault, often: int = 3) -> list[Fault]:
    return [fault] * often


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *product(["commits", "codeload", "batch", "object"], [drop, status(500)]),
        ("tarball", status(503)),
    ],
)
async def test_what_may_pass_is_tried_again(
    driver: Driver, server: GitHub, kind: str, fault: Fault
) -> None:
    server.faults[kind] = times(fault, 2)
    assert (await driver.bring()).key.revision == COMMIT


@pytest.mark.parametrize("kind", ["commits", "codeload", "batch", "object"])
@pytest.mark.parametrize(
    ("fault", "why"),
    [(drop, "broke the connection off before the end"), (status(500), "GitHub failed with 500")],
    ids=["drop", "500"],
)
async def test_what_does_not_pass_fails_and_asking_again_works(
    driver: Driver, server: GitHub, kind: str, fault: Fault, why: str
) -> None:
    server.faults[kind] = times(fault)
    assert why in await driver.error()
    assert server.faults[kind] == []  # three attempts
    assert (await driver.bring()).key.revision == COMMIT


@pytest.mark.parametrize(
    ("kind", "fault", "why"),
    [
        ("codeload", shorten, "damaged or cut short"),
        ("codeload", lengthen, "damaged or cut short"),
        ("codeload", damage, "damaged or cut short"),
        ("object", shorten, "model.safetensors did not arrive in its length"),
        ("object", lengthen, "model.safetensors did not arrive in its length"),
        ("object", damage, r"model.safetensors arrived damaged (wrong hash)"),
        ("commits", status(401), "GitHub refused access to some-owner/tiny (401): give the server"),
        ("commits", status(403), "GitHub refused access to some-owner/tiny (403)"),
        ("commits", status(409), "some-owner/tiny is empty"),
        ("commits", status(418), "GitHub answered 418 for some-owner/tiny"),
        ("commits", status(200), "GitHub named no commit for some-owner/tiny"),
        ("codeload", status(404), "GitHub does not find what belongs to some-owner/tiny (404)"),
        ("batch", status(403), "GitHub refused access to some-owner/tiny (403)"),
        ("batch", shorten, "GitHub sent an answer that cannot be understood"),
        ("batch", redirect("/elsewhere"), "redirects a request that may not be redirected"),
        ("commits", status(429, retry_after="77"), "rate limit is used up: try again in 77 s"),
        ("commits", status(429), "rate limit is used up: try again later"),
        ("codeload", status(403, retry_after="9" * 50), "rate limit is used up: try again later"),
        ("batch", status(403, x_ratelimit_remaining="0", x_ratelimit_reset="1800000000"),
         "rate limit is used up: try again after 2027-01-15 08:00:00 UTC"),
    ],
)  # fmt: skip
async def test_what_will_not_pass_is_not_tried_again(
    driver: Driver, server: GitHub, kind: str, fault: Fault, why: str
) -> None:
    server.faults[kind] = times(fault)
    assert why in await driver.error()
    assert len(server.faults[kind]) == 2
    server.faults[kind].clear()
    assert (await driver.bring()).key.revision == COMMIT


async def test_without_a_token_the_rate_limit_names_one(
    server: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    server.faults["commits"] = [status(403, x_ratelimit_remaining="0")]
    async with driving(tmp_path / "own", server) as driver:
        error = await driver.error()
    assert error.endswith("try again later; with a token (GITHUB_TOKEN) the limit is higher")


@pytest.mark.parametrize("kind", ["commits", "codeload", "batch", "object"])
@pytest.mark.parametrize("fault", [hang, silence])
async def test_a_server_that_hangs_is_given_up(
    server: GitHub, repository: Repository, tmp_path: Path, kind: str, fault: Callable[[GitHub], Fault]
) -> None:  # fmt: skip
    server.faults[kind] = [fault(server)]
    async with driving(tmp_path / "own", server, stall_seconds=0.2) as driver:
        assert "sent nothing for 0.2 s" in await driver.error()
    async with driving(tmp_path / "own", server) as driver:
        assert (await driver.bring()).key.revision == COMMIT


async def test_the_deadline_is_for_all_of_it(
    server: GitHub, repository: Repository, tmp_path: Path
) -> None:
    server.faults["object"] = [hang(server)]
    async with driving(tmp_path / "own", server, deadline_seconds=0.5) as driver:
        assert await driver.error() == "The import of some-owner/tiny did not finish in time"


async def test_a_server_that_crawls_is_given_up(
    server: GitHub, repository: Repository, tmp_path: Path
) -> None:
    hours = count(step=3600)
    async with driving(tmp_path / "own", server, clock=lambda: next(hours)) as driver:
        assert "sends too slowly: the download was given up" in await driver.error()


@pytest.mark.parametrize("kind", ["commits", "codeload", "batch", "object"])
async def test_an_endless_answer_is_cut(
    server: GitHub, repository: Repository, tmp_path: Path, kind: str
) -> None:
    server.faults[kind] = [endless]
    async with driving(tmp_path / "own", server, max_size_gb=0.002) as driver:
        error = await driver.error()
        assert any(
            why in error
            for why in ("larger than 0.002 GB", "too long", "did not arrive in its length")
        )
        assert (await driver.bring()).key.revision == COMMIT


async def test_what_is_declared_too_large_is_not_asked_for(
    server: GitHub, repository: Repository, tmp_path: Path
) -> None:
    async with driving(tmp_path / "own", server, max_size_gb=0.000_007) as driver:
        error = await driver.error()
    assert error == "The download is larger than 7e-06 GB (max_size_gb in [sources.github])"
    assert not any("lfs" in path for path in server.paths())


async def test_what_was_dropped_does_not_count(
    server: GitHub,
    repository: Repository,
    files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("embedwell_source_github.client.BLOCK", 100)
    server.faults["codeload"], server.faults["object"] = times(drop, 2), times(drop, 2)
    once = sum(map(len, files.values())) / 1e9  # uncompressed: some room, not for twice as much
    async with driving(tmp_path / "own", server, max_size_gb=once) as driver:
        assert (await driver.bring()).key.revision == COMMIT


async def test_a_store_without_room_is_found_out_before_the_download(
    server: GitHub, repository: Repository, tmp_path: Path
) -> None:
    async with driving(tmp_path / "own", server, store=Store(max_disk_gb=0.000_02)) as driver:
        assert (await driver.bring()).key.revision == COMMIT
    server.seen.clear()
    async with driving(tmp_path / "full", server, store=Store(max_disk_gb=0.000_007)) as driver:
        assert "max_disk_gb" in await driver.error()
    assert not any("lfs" in path for path in server.paths())


async def test_a_size_that_is_only_said_costs_no_revision(
    server: GitHub, repository: Repository, files: dict[str, bytes], tmp_path: Path
) -> None:
    server.faults["object"] = times(shorten)
    async with driving(tmp_path / "own", server, store=Store(max_disk_gb=0.000_1)) as driver:
        for spaces in (50_000, 20_000):
            async with driver.services.store.stage("upload", "kept") as staging:
                for name, data in files.items():
                    await staging.write(name, data)
                await staging.write("tokenizer.json", b" " * spaces)
                await staging.publish()
        assert "did not arrive in its length" in await driver.error()
        assert len(await driver.services.store.models("upload")) == 2
        server.faults.clear()
        assert (await driver.bring()).key.revision == COMMIT
        assert len(await driver.services.store.models("upload")) == 1


async def test_an_unreachable_server(
    server: GitHub, repository: Repository, tmp_path: Path
) -> None:
    listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    async with driving(tmp_path / "own", server, api_url=f"http://127.0.0.1:{port}") as driver:
        assert await driver.error() == (
            f"127.0.0.1:{port} could not be reached: check the server's network "
            "(it connects directly, HTTPS_PROXY is not used)"
        )


class FullDisk(Files):
    """The disk fills up at the n-th write."""

    def __init__(self, at: int) -> None:
        self.left = at

    def append(self, path: Path, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(path, data)


@pytest.mark.parametrize("at", [1, 2])
async def test_a_full_disk(server: GitHub, repository: Repository, tmp_path: Path, at: int) -> None:
    async with driving(tmp_path / "own", server, files=FullDisk(at)) as driver:
        assert "disk is full" in await driver.error()
        assert (await driver.bring()).key.revision == COMMIT


@pytest.mark.parametrize("kind", ["commits", "codeload", "object"])
async def test_a_cancelled_import_leaves_nothing(driver: Driver, server: GitHub, kind: str) -> None:
    server.faults[kind] = [hang(server)]
    task = await driver.start(repository=TINY)
    await server.hanging.wait()
    ended = await driver.services.tasks.cancel(task.id)
    assert ended.status == "cancelled"
    assert driver.staged() == []
    assert await driver.source.models() == []
    assert (await driver.bring()).key.revision == COMMIT


@pytest.mark.parametrize("kind", ["commits", "object"])
async def test_a_model_that_is_being_fetched_is_not_deleted(
    driver: Driver, server: GitHub, kind: str
) -> None:
    found = await driver.bring()
    server.faults[kind] = [hang(server)]
    task = await driver.start(repository=TINY)
    await server.hanging.wait()
    with pytest.raises(Conflict, match="some-owner/tiny is being fetched; cancel the task first"):
        await driver.source.delete(ModelRef(TINY))
    assert await driver.source.models() == [found]
    await driver.services.tasks.cancel(task.id)
    await driver.source.delete(ModelRef(TINY))
    assert await driver.source.models() == []


async def test_imports_wait_for_their_turn(
    server: GitHub, repository: Repository, driver: Driver, tmp_path: Path
) -> None:
    server.faults["object"] = [hang(server)]
    async with driving(tmp_path / "one", server, max_concurrent=1) as one:
        first = await one.start(repository=TINY)
        await server.hanging.wait()
        second = await one.start(repository=TINY, revision="main", model="other")
        await driver.bring(repository=TINY)  # time enough for the second, if it did not wait
        status = {task.id: task.status for task in one.services.tasks.list()}
        assert status == {first.id: "running", second.id: "queued"}
        assert not any(path.endswith("/commits/main") for path in server.paths())
        await one.services.tasks.cancel(first.id)
        await one.services.tasks.result(second.id)
        assert [found.key.name for found in await one.source.models()] == ["other"]


def elsewhere(port: int) -> Sequence[str]:
    return [
        f"http://127.0.0.1:{port}/x", f"http://localhost:{port}/x", f"http://127.1:{port}/",
        f"http://0.0.0.0:{port}/", f"http://[::1]:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
        f"http://2130706433:{port}/", f"//127.0.0.1:{port}/x", f"/\\127.0.0.1:{port}/x",
        f"https://127.0.0.1:{port}/", f"http://github.com@127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}\\@github.com/", "http://169.254.169.254/latest/meta-data/",
        "https://evil.example/", "https://evilgithubusercontent.com/", "https://github.com.evil.example/",
        "http://api.github.com/", "https://codeload.github.com:8443/", "https://x.blob.core.windows.net/",
        "file:///etc/passwd", "ftp://github.com/", "gopher://127.0.0.1/", "", "x", "http://", "https:///x",
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(elsewhere(0))), ids=elsewhere(0))
async def test_redirects_to_elsewhere_are_refused(
    driver: Driver, server: GitHub, number: int
) -> None:
    async with canary() as bird:
        for kind in ("commits", "object") if number == 0 else ("tarball",):
            server.faults[kind] = [redirect(elsewhere(bird.port)[number])]
            error = await driver.error()
            assert "Refused to be sent to" in error or "to what is not an address" in error
            assert SECRET not in error


async def test_a_renamed_repository_is_followed_with_the_token(
    driver: Driver, server: GitHub
) -> None:
    server.faults["commits"] = [redirect(f"/repos/{TINY}/commits/main", 301)]
    assert (await driver.bring()).key.revision == COMMIT
    (followed,) = [seen for seen in server.seen if seen.path.endswith("/commits/main")]
    assert followed.authorization == f"Bearer {SECRET}"


async def test_too_many_redirects(driver: Driver, server: GitHub) -> None:
    server.faults["commits"] = times(redirect(f"/repos/{TINY}/commits/main"), 4)
    assert "redirects more than 3 times" in await driver.error()
    server.faults["commits"] = times(redirect(f"/repos/{TINY}/commits/main"), 3)
    assert (await driver.bring()).key.revision == COMMIT


async def test_the_storages_headers_do_not_travel(driver: Driver, server: GitHub) -> None:
    server.faults["object"] = [redirect(f"{server.api}/elsewhere")]
    await driver.error()
    (strayed,) = [seen for seen in server.seen if seen.path == "/elsewhere"]
    assert "authorization" not in strayed.headers
    assert STORAGE_HEADER not in str(strayed)


async def test_a_batch_that_is_redirected_takes_its_token_nowhere(
    driver: Driver, server: GitHub
) -> None:
    server.faults["batch"] = [redirect(f"{server.api}/elsewhere", 307)]
    await driver.error()
    (strayed,) = [seen for seen in server.seen if seen.path == "/elsewhere"]
    assert (strayed.method, "authorization" in strayed.headers) == ("POST", False)


@pytest.mark.parametrize(
    "href", ["http://127.0.0.1:{}/x", "not an address", "https://evil.example/x"]
)
async def test_a_batch_that_names_another_host(driver: Driver, server: GitHub, href: str) -> None:
    async with canary() as bird:

        async def misled(writer: asyncio.StreamWriter, response: Response) -> None:
            start = f"{server.web}/storage".encode()
            stop = href.format(bird.port).encode()
            await send(writer, Response(200, response.body.replace(start, stop)))

        server.faults["batch"] = [misled]
        error = await driver.error()
        assert "Refused to be sent to" in error or "gave no address for model.safetensors" in error


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fe80::1%eth0"]
)
async def test_a_name_with_a_private_address_is_refused(
    server: GitHub, repository: Repository, tmp_path: Path, address: str
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "127.0.0.1" else [address]

    server.faults["tarball"] = [redirect("https://objects.githubusercontent.com/x")]
    async with driving(tmp_path / "own", server, resolve=resolve) as driver:
        assert await driver.error() == (
            "Refused to connect to objects.githubusercontent.com: its address is not a public one"
        )
