"""The Hub source against a Hub on the loopback and the unmodified huggingface_hub."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell import Fetch, InvalidModel, ModelRef, Snapshot, SourceError
from embedwell.errors import TaskNotFound
from embedwell.interfaces.services import BaseServices
from embedwell.models import manifest
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import SourceContract, make_model_folder, make_services
from embedwell.testing.contracts import SourceCase
from embedwell_source_huggingface.config import Config
from embedwell_source_huggingface.plugin import register_sources
from embedwell_source_huggingface.source import HubSource
from tests.sources.hub import COMMIT, Hub, bare_user, contents, store

TINY = "some-owner/tiny"
REF = ModelRef(TINY)
Make = Callable[..., HubSource]
WANTED = {
    "config.json", "modules.json", "1_Pooling/config.json", "config_sentence_transformers.json",
    "tokenizer.json", "tokenizer_config.json", "model.safetensors",
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_user(monkeypatch, tmp_path / "user")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return contents(make_model_folder(tmp_path / "original"))


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    made = Hub()
    extra = {"pytorch_model.bin": b"x" * 5_000, "code.py": b"boom", "onnx/model.onnx": b"x" * 9}
    made.add(TINY, {**files, **extra, "README.md": b"# tiny"})
    yield made
    made.close()


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[BaseServices]:
    made = make_services(tmp_path / "own")
    yield made
    assert isinstance(made.tasks, TaskRunner)
    await made.tasks.aclose()


@pytest.fixture
async def make(hub: Hub, services: BaseServices) -> Make:
    def build(**settings: Any) -> HubSource:
        # As the loader would: from TOML's values. Time is plentiful: two cores, many tests.
        values = {"endpoint": hub.url, "timeout": 60} | settings
        return HubSource(msgspec.convert(values, Config), services)

    return build


async def bring(source: HubSource, ref: ModelRef = REF) -> Snapshot:
    found = await source.resolve(ref)
    assert isinstance(found, Fetch)
    seen: list[tuple[int, int | None]] = []
    snapshot = await found.run(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (found.size, found.size)
    return snapshot


class TestContract(SourceContract):
    @pytest.fixture
    async def case(self, make: Make) -> SourceCase:
        return SourceCase(make(), REF)


async def test_a_model_is_downloaded_then_found_without_the_network(hub: Hub, make: Make) -> None:
    first = await bring(make())
    assert (first.key.name, first.key.revision) == (TINY, COMMIT)
    assert manifest.read(first.path).normalizes
    hub.requests.clear()
    offline = make(offline=True)
    assert await offline.resolve(REF) == first
    assert await offline.resolve(ModelRef(TINY, COMMIT)) == first
    assert await offline.resolve(ModelRef(TINY, "main")) == first
    assert [row.key.name for row in await offline.models()] == [TINY]
    assert hub.requests == []


async def test_only_what_a_model_needs_is_fetched(hub: Hub, make: Make, tmp_path: Path) -> None:
    await bring(make())
    assert hub.fetched() == WANTED
    assert list((tmp_path / "own").rglob("*.py")) == []
    assert not (tmp_path / "user").exists()


async def test_modules_in_the_current_directory_are_not_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert isinstance(await make().resolve(REF), Fetch)


async def test_a_pinned_revision(make: Make) -> None:
    snapshot = await bring(make(), ModelRef(TINY, COMMIT))
    assert snapshot.key.revision == COMMIT
    # The commit says nothing of a branch.
    assert await make(offline=True).resolve(REF) is None
    branch = await make().resolve(ModelRef(TINY, "refs/pr/1"))
    assert branch == snapshot


@pytest.mark.parametrize(
    "ref",
    [
        ModelRef("no-owner"),
        ModelRef("some-owner/absent"),
        ModelRef(TINY, "no-such-branch"),
        ModelRef(TINY, "/etc/passwd"),
        ModelRef(TINY, "."),
        ModelRef("a--b/c"),
    ],
    ids=str,
)
async def test_what_the_hub_does_not_have_is_none(make: Make, ref: ModelRef) -> None:
    assert await make().resolve(ref) is None


async def test_a_gated_model_says_what_to_do(hub: Hub, make: Make) -> None:
    hub.repos[TINY].gated = True
    with pytest.raises(SourceError, match=r"restricted .* accept its terms, .*HF_TOKEN"):
        await make().resolve(REF)


async def test_the_token_opens_a_private_model_and_is_the_only_one_sent(
    hub: Hub, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos[TINY].token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert await make(token="").resolve(REF) is None
    assert {header for _, _, header in hub.requests} == {""}
    monkeypatch.setenv("MINE", "hf_secret")
    hub.requests.clear()
    await bring(make(token={"env": "MINE"}))
    assert {header for _, _, header in hub.requests} == {"Bearer hf_secret"}


async def test_a_login_of_the_users_own_is_not_used(
    hub: Hub, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hf_personal")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    await bring(make())
    assert {header for _, _, header in hub.requests} == {""}


async def test_a_refused_token_is_told(hub: Hub, make: Make) -> None:
    hub.status = 401
    with pytest.raises(SourceError, match=r"refused access to some-owner/tiny \(401\): .*token"):
        await make().resolve(REF)
    hub.status = 418
    with pytest.raises(SourceError, match="answered 418 for some-owner/tiny"):
        await make().resolve(REF)


async def test_a_hub_that_never_answers(hub: Hub, make: Make) -> None:
    hub.silent.set()
    with pytest.raises(
        SourceError, match=r"did not answer within 1 s for some-owner/tiny: check .*offline = true"
    ):
        await make(timeout=1).resolve(REF)


async def test_a_hub_that_is_not_there(make: Make) -> None:
    told = (
        r"^No local model is named some-owner/tiny\. The Hugging Face Hub could not be reached for "
        r"some-owner/tiny: check the server's network, HTTPS_PROXY and HF_ENDPOINT; on a machine without network set offline = true in \[sources\.huggingface\]$"
    )
    with pytest.raises(SourceError, match=told):
        await make(endpoint="http://127.0.0.1:9").resolve(REF)


async def test_a_connection_that_drops_is_taken_up_again(
    hub: Hub, make: Make, files: dict[str, bytes]
) -> None:
    hub.cut["model.safetensors"] = 1
    snapshot = await bring(make())
    whole = snapshot.path / "model.safetensors"
    assert whole.read_bytes() == files["model.safetensors"]


async def test_a_download_that_stands_still_ends_and_can_be_tried_again(
    hub: Hub, make: Make
) -> None:
    hub.hang_in = "model.safetensors"
    found = await make(stall_seconds=2).resolve(REF)
    assert isinstance(found, Fetch)
    with pytest.raises(SourceError, match="came to a standstill"):
        await found.run(lambda done, total: None)
    assert await make(offline=True).resolve(REF) is None, "a part of a model was served"
    assert await make().models() == []
    hub.hang_in = ""
    assert (await bring(make())).key.revision == COMMIT


async def test_a_deadline_for_the_whole_download(hub: Hub, make: Make) -> None:
    hub.hang_in = "model.safetensors"
    found = await make(deadline_seconds=2).resolve(REF)
    assert isinstance(found, Fetch)
    with pytest.raises(SourceError, match="did not finish in time"):
        await found.run(lambda done, total: None)


async def test_cancelling_kills_the_child(hub: Hub, make: Make, services: BaseServices) -> None:
    hub.hang_in = "model.safetensors"
    found = await make().resolve(REF)
    assert isinstance(found, Fetch)
    task = services.tasks.start("download", "x", found.run)
    await asyncio.to_thread(hub.hanging.wait)
    assert children()
    assert (await services.tasks.cancel(task.id)).status == "cancelled"
    assert not children()
    with pytest.raises(TaskNotFound, match="was cancelled"):
        await services.tasks.result(task.id)


async def test_content_is_checked_against_its_hash(hub: Hub, make: Make) -> None:
    hub.corrupt = {"model.safetensors"}
    found = await make().resolve(REF)
    assert isinstance(found, Fetch)
    with pytest.raises(SourceError, match="arrived damaged"):
        await found.run(lambda done, total: None)
    assert await make(offline=True).resolve(REF) is None
    hub.corrupt = set()
    assert (await bring(make())).key.revision == COMMIT


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({"download": "never"}, {}),
        ({"download": "allowlist", "allow": ["other/*"]}, {}),
        ({"offline": True}, {}),
        ({}, {"HF_HUB_OFFLINE": "1"}),
        ({}, {"TRANSFORMERS_OFFLINE": "yes"}),
    ],
)
async def test_when_nothing_may_be_downloaded_nothing_is_asked(
    hub: Hub,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert await make(**settings).resolve(REF) is None
    assert hub.requests == []


async def test_the_allowlist_lets_its_models_through(make: Make) -> None:
    source = make(download="allowlist", allow=["some-owner/*"])
    assert isinstance(await source.resolve(REF), Fetch)


async def test_a_model_too_large_is_refused(make: Make) -> None:
    with pytest.raises(InvalidModel, match=r"limited to 1e-06 GB \(max_size_gb"):
        await make(max_size_gb=0.000001).resolve(REF)


async def test_a_model_without_safetensors_says_so(hub: Hub, make: Make) -> None:
    del hub.repos[TINY].files["model.safetensors"]
    with pytest.raises(
        InvalidModel, match=r"no safetensors weights, only onnx/model.onnx: convert"
    ):
        await make().resolve(REF)


async def test_the_users_own_cache_is_read_and_not_written(
    hub: Hub, make: Make, files: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "user" / ".cache" / "huggingface" / "hub"
    path = store(cache, TINY, files)
    before = sorted(cache.rglob("*"))
    source = make()
    found = await source.resolve(REF)
    assert isinstance(found, Snapshot)
    assert found.path == path
    assert [row.path for row in await source.models()] == [path]
    assert sorted(cache.rglob("*")) == before
    assert hub.requests == []


async def test_the_operators_cache_is_used(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "theirs"))
    snapshot = await bring(make())
    assert snapshot.path.is_relative_to(tmp_path / "theirs" / "hub")
    assert not (tmp_path / "own" / "hub").exists()


async def test_a_branch_stays_at_its_commit(
    make: Make, files: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    source = make(cache_dir=str(cache))
    store(cache, TINY, files)
    first = await source.resolve(REF)
    newer = "f" * 40
    store(cache, TINY, {**files, "config.json": files["config.json"] + b" "}, newer)
    assert await source.resolve(REF) == first
    moved = await make(cache_dir=str(cache)).resolve(REF)
    assert isinstance(moved, Snapshot)
    assert moved.key.revision == newer
    assert isinstance(first, Snapshot)
    assert moved.digest != first.digest


def test_the_plugin_registers_one_source() -> None:
    (spec,) = register_sources()
    assert (spec.name, spec.priority, spec.build) == ("huggingface", 100, HubSource)


def children() -> list[str]:
    """Command lines of this process's children that download."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            line = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if parent == os.getpid() and "embedwell_source_huggingface.download" in line:
            found.append(line)
    return found
