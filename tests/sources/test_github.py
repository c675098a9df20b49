"""The GitHub source against a GitHub on the loopback: what is fetched, and what is published."""

import io
import json
import struct
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell import Invalid, ModelRef, Overloaded, SourceError
from embedwell.models import manifest
from embedwell.testing import SourceContract
from embedwell.testing.contracts import SourceCase
from tests.sources.github_driver import TINY, Driver, driving, model
from tests.sources.github_server import COMMIT, OLDER, STORAGE_HEADER, GitHub, Repository, github
from tests.sources.github_trees import Link, Submodule, Tree, pointer
from tests.sources.github_trouble import canary

REF = ModelRef(TINY)
SECRET = "ghp_secretsecretsecret"
WANTED = {
    "config.json", "modules.json", "1_Pooling/config.json", "config_sentence_transformers.json",
    "tokenizer.json", "tokenizer_config.json", "model.safetensors",
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)


@pytest.fixture
async def server() -> AsyncIterator[GitHub]:
    async with github() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return model(tmp_path / "original")


@pytest.fixture
def repository(server: GitHub, files: dict[str, bytes]) -> Repository:
    return server.add(TINY, {**files, "README.md": b"# tiny", "train.py": b"boom"})


@pytest.fixture
async def driver(server: GitHub, tmp_path: Path) -> AsyncIterator[Driver]:
    async with driving(tmp_path / "own", server) as made:
        yield made


def published(path: Path) -> dict[str, bytes]:
    found = [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in found}


class TestContract(SourceContract):
    @pytest.fixture
    async def case(self, repository: Repository, driver: Driver) -> SourceCase:
        await driver.bring()
        return SourceCase(driver.source, REF)


async def test_the_default_branch_is_published_as_its_commit(
    repository: Repository, driver: Driver, server: GitHub, files: dict[str, bytes]
) -> None:
    snapshot = await driver.bring()
    assert (snapshot.key.name, snapshot.key.revision) == (TINY, COMMIT)
    assert published(snapshot.path) == files  # no README, no code
    assert manifest.read(snapshot.path).normalizes
    server.seen.clear()
    assert await driver.source.resolve(REF) == snapshot
    assert await driver.source.resolve(ModelRef(TINY, COMMIT)) == snapshot
    assert [found.key for found in await driver.source.models()] == [snapshot.key]
    assert server.seen == []


@pytest.mark.parametrize(
    ("revision", "commit"),
    [("main", COMMIT), ("feature/small", OLDER), ("v1.0", COMMIT), (OLDER, OLDER)],
)
async def test_a_branch_a_tag_and_a_commit(
    repository: Repository, driver: Driver, tmp_path: Path, revision: str, commit: str
) -> None:
    repository.trees[OLDER] = model(tmp_path / "older", hidden=4)
    repository.refs["feature/small"] = OLDER
    snapshot = await driver.bring(repository=TINY, revision=revision)
    assert snapshot.key.revision == commit
    assert manifest.read(snapshot.path).dimensions == (4 if commit == OLDER else 8)


async def test_a_branch_that_moved_on_replaces_the_model(
    repository: Repository, driver: Driver, tmp_path: Path
) -> None:
    first = await driver.bring()
    repository.trees[OLDER] = model(tmp_path / "other", hidden=4)
    repository.refs["HEAD"] = OLDER
    second = await driver.bring()
    assert await driver.source.resolve(REF) == second
    assert await driver.source.resolve(ModelRef(TINY, COMMIT)) == first


async def test_progress_is_told_and_ends_with_all(repository: Repository, driver: Driver) -> None:
    task = await driver.start(repository=TINY)
    await driver.services.tasks.result(task.id)
    ended = driver.services.tasks.get(task.id)
    assert (ended.status, ended.key, ended.error) == ("done", TINY, None)
    assert ended.done > 1000


async def test_asking_twice_at_once_is_one_task(
    repository: Repository, driver: Driver, server: GitHub
) -> None:
    first = await driver.start(repository=TINY)
    again = await driver.start(owner="some-owner", repo="tiny")
    assert again.id == first.id
    await driver.services.tasks.result(first.id)
    assert sum(path.endswith("/commits/HEAD") for path in server.paths()) == 1


async def test_a_deleted_model_is_gone(repository: Repository, driver: Driver) -> None:
    await driver.bring()
    await driver.source.delete(REF)
    assert await driver.source.resolve(REF) is None
    assert await driver.source.models() == []


async def test_the_token_opens_a_private_repository_and_is_sent_to_no_other_host(
    server: GitHub, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("DEBUG")
    server.add(TINY, files, token=SECRET)
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)
    async with driving(tmp_path / "own", server) as driver:
        await driver.bring()
    assert {seen.authorization for seen in server.seen if seen.host == "api"} == {
        f"Bearer {SECRET}"
    }
    codeload = [seen for seen in server.seen if seen.host == "web"]
    assert len(codeload) == 1
    assert SECRET not in str(codeload)
    assert SECRET not in caplog.text


async def test_a_private_repository_without_a_token(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    server.add(TINY, files, token=SECRET)
    assert "no repository some-owner/tiny, or it is private: give the server a token" in (
        await driver.error()
    )


async def test_a_subfolder_of_a_monorepo(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    tree: dict[str, bytes | Link | Submodule] = {
        "src/main.py": b"boom", "latest": Link("models/small"), "vendor/lib": Submodule(),
        "models/other/config.json": b"{}", "models/small.json": b"{}", "docs/link": Link("/etc/passwd"),
        "config.json": b"not this one", "src/CON": b"", **{f"code/{i}.py": b"" for i in range(1500)},
    }  # fmt: skip
    tree |= {f"models/small/{name}": data for name, data in files.items()}
    server.add("acme/mono", tree)
    snapshot = await driver.bring(repository="acme/mono", subfolder="models/small", model="small")
    assert snapshot.key.name == "small"
    assert published(snapshot.path) == files


def lfs_tree(repository: Repository, files: dict[str, bytes]) -> Tree:
    return {
        **files,
        "model.safetensors": repository.lfs(files["model.safetensors"]),
        "tokenizer.json": repository.lfs(files["tokenizer.json"]),
        "training-data.bin": repository.lfs(b"never asked for", kept=False),
    }


async def test_lfs_files_are_fetched_with_their_own_headers(
    server: GitHub, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", SECRET)
    repository = server.add(TINY, {}, token=SECRET)
    repository.trees[COMMIT] = lfs_tree(repository, files)
    async with driving(tmp_path / "own", server, token={"env": "MINE"}) as driver:
        snapshot = await driver.bring()
    assert published(snapshot.path) == files
    objects = [seen for seen in server.seen if "/storage/" in seen.path]
    assert len(objects) == 2
    assert {seen.authorization for seen in objects} == {STORAGE_HEADER}
    assert all("evil" not in seen.headers["host"] for seen in objects)


async def test_an_lfs_object_that_is_not_there(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    repository = server.add(TINY, {})
    lost = repository.lfs(files["model.safetensors"], kept=False)
    repository.trees[COMMIT] = {**files, "model.safetensors": lost}
    assert await driver.error() == (
        "model.safetensors is kept in Git LFS, which does not have its content (404)"
    )


async def test_a_malformed_pointer(server: GitHub, driver: Driver, files: dict[str, bytes]) -> None:
    server.add(TINY, {**files, "model.safetensors": pointer("xyz", 7)})
    assert "model.safetensors is a Git LFS pointer that cannot be read" in await driver.error()


def zipped(files: dict[str, bytes], top: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{top}{name}", data)
    return made.getvalue()


async def test_weights_of_a_release_complete_the_tree(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    repository = server.add(TINY, {**files})
    weights = files.pop("model.safetensors")
    config = files["config.json"]
    repository.trees[COMMIT] = files
    repository.releases["v1.0"] = {
        "model.safetensors": weights, "config.json": b"older", "paper.pdf": b"x", "code.zip": b"x",
    }  # fmt: skip
    snapshot = await driver.bring(repository=TINY, revision="v1.0")
    assert published(snapshot.path) == {**files, "model.safetensors": weights}
    assert published(snapshot.path)["config.json"] == config
    assert snapshot.key.revision == COMMIT


@pytest.mark.parametrize("tree", [{"README.md": b"# see the release"}, {"config.json": b"{}"}])
async def test_an_archive_of_a_release_is_the_model(
    server: GitHub, driver: Driver, files: dict[str, bytes], tree: Tree
) -> None:
    repository = server.add(TINY, tree)
    repository.releases["v1.0"] = {"model.zip": zipped(files, "tiny/"), "paper.pdf": b"x"}
    snapshot = await driver.bring(repository=TINY, revision="v1.0")
    assert published(snapshot.path) == files


async def test_a_release_with_several_archives(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    repository = server.add(TINY, {"README.md": b""})
    repository.releases["v1.0"] = {"a.zip": zipped(files), "b.tar.gz": b""}
    error = await driver.error(repository=TINY, revision="v1.0")
    assert error.startswith("The release of some-owner/tiny has 2 archives")


async def test_a_release_says_nothing_of_a_subfolder(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    repository = server.add(TINY, {"small/config.json": files["config.json"]})
    repository.releases["v1.0"] = {"model.safetensors": files["model.safetensors"]}
    error = await driver.error(repository=TINY, revision="v1.0", subfolder="small", model="small")
    assert "some-owner/tiny has no weights (model.safetensors)" in error


def shards(files: dict[str, bytes]) -> dict[str, bytes]:
    """The weights as an index of two, of which the second is missing."""
    weights = files.pop("model.safetensors")
    (length,) = struct.unpack("<Q", weights[:8])
    (tensor,) = json.loads(weights[8 : 8 + length])
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    places = {tensor: names[0], "other": names[1]}
    index = json.dumps({"metadata": {}, "weight_map": places}).encode()
    return {**files, "model.safetensors.index.json": index, names[0]: weights}


async def test_what_a_repository_lacks_is_the_tasks_error(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    async def error(tree: Tree, **body: str) -> str:
        server.add(TINY, tree)
        return await driver.error(repository=TINY, **body)

    rest = {name: data for name, data in files.items() if name != "model.safetensors"}
    assert "is a link" in await error({**rest, "model.safetensors": Link("../x")})
    assert "has no weights (model.safetensors)" in await error(rest)
    assert "only pytorch_model.bin: convert" in await error({**rest, "pytorch_model.bin": b"x"})
    headless = {name: data for name, data in files.items() if name != "config.json"}
    assert "has no config.json: it is not a transformers model" in await error(headless)
    assert "no files of a model" in await error({"README.md": b""})
    assert "(submodules are not fetched)" in await error(
        {".gitmodules": b"[]", "weights": Submodule(), **rest}
    )
    inside: Tree = {"submodule": Submodule(), "README.md": b""}
    assert "no files of a model" in await error(inside, subfolder="submodule", model="x")
    assert "no folder 'absent'" in await error(rest, subfolder="absent", model="x")
    assert "model-00002-of-00002.safetensors" in await error(shards(dict(files)))


async def test_shards_beside_the_whole_file_are_left_behind(
    server: GitHub, driver: Driver, files: dict[str, bytes]
) -> None:
    repository = server.add(TINY, {})
    extra = repository.lfs(b"never asked for", kept=False)
    repository.trees[COMMIT] = {
        **files, "model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": extra,
    }  # fmt: skip
    assert published((await driver.bring()).path) == files


async def test_bad_requests_are_refused_before_any_connection(
    driver: Driver, server: GitHub
) -> None:
    async with canary() as bird:
        local = f"127.0.0.1:{bird.port}"
        bad = [
            *({"repository": text} for text in (
                f"http://{local}/x", f"https://{local}/a/b", f"{local}/x", "https://github.com/a/b",
                "file:///etc/passwd", "ext::sh -c x", "--upload-pack", "owner/../x", "owner/repo;x",
            )),
            {"owner": local, "repo": "x"},
            {"repository": TINY, "revision": "../.."},
            {"repository": TINY, "revision": f"http://{local}/"},
            {"repository": TINY, "subfolder": "../..", "model": "x"},
            {"repository": TINY, "model": f"http://{local}/"},
        ]  # fmt: skip
        for body in bad:
            with pytest.raises(Invalid):
                await driver.post(**body)
    assert driver.services.tasks.list() == []
    assert server.seen == []


async def test_a_name_that_the_store_refuses_is_the_tasks_error(
    repository: Repository, driver: Driver
) -> None:
    error = await driver.error(repository=TINY, model="nul.txt")
    assert "'nul.txt' is a device on some systems" in error


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"repository": "nobody/nothing"}, "GitHub has no repository nobody/nothing, or it is"),
        ({"repository": TINY, "revision": "v9"}, "some-owner/tiny has no revision v9"),
        ({"repository": TINY, "revision": "f" * 40}, "has no revision ffffffff"),
    ],
)
async def test_what_github_does_not_have(
    repository: Repository, driver: Driver, body: dict[str, str], why: str
) -> None:
    assert why in await driver.error(**body)


async def test_too_many_imports_are_refused(
    repository: Repository, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedwell_source_github.source.WAITING", 0)
    with pytest.raises(Overloaded, match="imports from GitHub are under way"):
        await driver.post(repository=TINY)


async def test_errors_of_tasks_are_raised_to_those_who_wait(driver: Driver) -> None:
    with pytest.raises(SourceError, match="no repository"):
        await driver.bring(repository="nobody/nothing")
