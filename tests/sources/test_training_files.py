"""Which folders are runs, and when a model in one is complete."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from embedwell.models import manifest
from embedwell.models import tag as tags
from embedwell_source_training import folders
from embedwell_source_training.content import read
from embedwell_source_training.whole import Checked, Unfinished
from tests.sources.training_runs import checkpoint, final, nested, plain, sharded, tensors


def names(root: Path) -> list[str]:
    return [name for name, _ in folders.runs(root)]


def test_runs_are_found_under_an_owner_or_without(tmp_path: Path) -> None:
    final(tmp_path / "run")
    plain(tmp_path / "alice" / "run")
    checkpoint(tmp_path / "alice" / "01_baseline", 3)
    final(tmp_path / "bert" / "final")
    nested(tmp_path / "old")
    final(tmp_path / "too" / "deep" / "run")
    assert names(tmp_path) == [
        "alice/01_baseline", "alice/run", "bert", "old", "run", "too/deep",
    ]  # fmt: skip
    for name in names(tmp_path):
        tags.parse(name)
        assert folders.find(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    ["run/checkpoint-5", "run/final", "old/0_Transformer", "alice/final", "nobody", "alice/nobody",
     "alice", "RUN", "run/..", "../x", ".", "upload", "run/1_Pooling", "", "run/", "a/b/c"],
)  # fmt: skip
def test_parts_of_runs_and_foreign_names_are_none(tmp_path: Path, name: str) -> None:
    final(checkpoint(tmp_path / "run", 5).parent / "final")
    nested(tmp_path / "old")
    final(tmp_path / "alice" / "run")
    (tmp_path / "alice" / "final").mkdir()
    final(tmp_path / "upload")
    assert folders.find(tmp_path, name) is None
    assert name not in names(tmp_path)


def test_names_that_are_no_tags_are_passed_over(tmp_path: Path) -> None:
    for name in (".hidden", "with space", "ünïcode", "a" * 97, "-dash"):
        final(tmp_path / name)
        final(tmp_path / "owner" / name)
    final(tmp_path / "good")
    assert names(tmp_path) == ["good"]


def test_of_names_that_differ_in_case_the_first_is_taken(tmp_path: Path) -> None:
    for name in ("run", "Run", "other"):
        final(tmp_path / name)
    assert names(tmp_path) == ["Run", "other"]
    assert folders.find(tmp_path, "run") is None


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = final(tmp_path / "outside")
    root = tmp_path / "runs"
    checkpoint(root / "run", 1)
    (root / "linked").symlink_to(outside)
    (root / "run" / "checkpoint-2").symlink_to(outside)
    (root / "run" / "final").symlink_to(outside)
    assert names(root) == ["run"]
    assert folders.find(root, "linked") is None
    assert folders.checkpoint(root / "run", "checkpoint-2") is None
    assert folders.checkpoints(root / "run") == [root / "run" / "checkpoint-1"]
    assert folders.finals(root / "run") == []


def test_a_listing_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_ENTRIES", 12)
    for i in range(20):
        for j in range(5):
            (tmp_path / f"owner{i}" / f"run{j}").mkdir(parents=True)
    assert 1 <= len(names(tmp_path)) <= 12
    assert len(folders.subfolders(tmp_path)) == 12


@pytest.mark.parametrize("form", [final, plain, nested, sharded])
def test_what_is_missing_makes_it_unfinished(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    whole = form(tmp_path / "whole")
    content = read(whole, Checked())
    for file in content.files:
        left = shutil.copytree(whole, tmp_path / "left")
        (left / file.name).unlink()
        if Path(file.name).name in (
            "tokenizer_config.json",
            "config_sentence_transformers.json",
        ) or (file.name == "2_Normalize/config.json"):
            read(left, Checked())
        else:
            with pytest.raises(Unfinished, match="is missing"):
                read(left, Checked())
        shutil.rmtree(left)


@pytest.mark.parametrize("form", [final, nested, sharded])
def test_a_file_cut_anywhere_makes_it_unfinished(
    tmp_path: Path, form: Callable[[Path], Path]
) -> None:
    folder = form(tmp_path / "run")
    checked = Checked()
    for file in read(folder, checked).files:
        path = folder / file.name
        data = path.read_bytes()
        for length in {0, 1, 7, 8, 9, len(data) // 2, len(data) - 1} - {len(data)}:
            path.write_bytes(data[:length])
            with pytest.raises(Unfinished):
                read(folder, checked)
        path.write_bytes(data)
    read(folder, checked)


def test_a_complete_folder_has_a_manifest(tmp_path: Path) -> None:
    for form in (final, plain, nested):
        folder = form(tmp_path / form.__name__)
        read(folder, Checked())
        assert manifest.read(folder).dimensions == 8


def test_the_body_alone_is_no_model_while_modules_are_being_written(tmp_path: Path) -> None:
    folder = final(tmp_path / "run")
    (folder / "modules.json").unlink()
    with pytest.raises(Unfinished, match=r"modules\.json is missing, but 1_Pooling is there"):
        read(folder, Checked())
    shutil.rmtree(folder / "1_Pooling")
    shutil.rmtree(folder / "2_Normalize", ignore_errors=True)
    with pytest.raises(Unfinished, match=r"config_sentence_transformers\.json is there"):
        read(folder, Checked())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "1_Pooling"])
def test_a_link_is_as_good_as_nothing(tmp_path: Path, name: str) -> None:
    folder = final(tmp_path / "run")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unfinished, match="is missing"):
        read(folder, Checked())


def test_a_pipe_in_a_files_place_is_not_opened(tmp_path: Path) -> None:
    folder = final(tmp_path / "run")
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(Unfinished, match=r"tokenizer\.json is missing"):
        read(folder, Checked())


MODULES = [
    ("{}", "is no list"),
    ("[]", "is no list"),
    ("[5]", "without type or path"),
    ('[{"type": "x", "path": 5}]', "without type or path"),
    ('[{"type": "x", "path": "../other"}]', "outside"),
    ('[{"type": "x", "path": "/etc"}]', "outside"),
    ('[{"type": "x", "path": ".."}]', "outside"),
    (json.dumps([{"type": "x", "path": f"m{i}"} for i in range(17)]), "is no list"),
    ('[{"type"', "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
]


@pytest.mark.parametrize(("text", "why"), MODULES)
def test_odd_modules_are_unfinished(tmp_path: Path, text: str, why: str) -> None:
    folder = final(tmp_path / "run")
    (folder / "modules.json").write_text(text)
    with pytest.raises(Unfinished, match=why):
        read(folder, Checked())


@pytest.mark.parametrize(
    "index",
    [[], {}, {"weight_map": {}}, {"weight_map": {"a": "../x.safetensors"}}, {"weight_map": {"a": 5}},
     {"weight_map": {str(i): f"m{i}.safetensors" for i in range(201)}}],
)  # fmt: skip
def test_odd_indices_are_unfinished(tmp_path: Path, index: object) -> None:
    folder = sharded(tmp_path / "run")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Unfinished, match="names no shards"):
        read(folder, Checked())


HEADERS = [
    struct.pack("<Q", 2**63) + b"{}",
    struct.pack("<Q", 30_000_000) + bytes(30_000_001),
    struct.pack("<Q", 2) + b"[]",
    struct.pack("<Q", 2) + b"\xff\xff",
    struct.pack("<Q", 2) + b"{}" + b"more",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
]


@pytest.mark.parametrize("data", HEADERS, ids=range(len(HEADERS)))
def test_odd_weights_are_unfinished(tmp_path: Path, data: bytes) -> None:
    folder = final(tmp_path / "run")
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(Unfinished, match=r"model\.safetensors"):
        read(folder, Checked())


def test_metadata_in_a_header_is_allowed(tmp_path: Path) -> None:
    folder = final(tmp_path / "run")
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    read(folder, Checked())
    tensors(folder / "model.safetensors", "t")
    read(folder, Checked())
