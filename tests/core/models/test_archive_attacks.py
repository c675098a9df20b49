"""Archives that were made to do harm: nothing leaves the folder, and nothing grows without end."""

import gzip
import random
import resource
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedwell.errors import InvalidModel
from embedwell.models.archive import unpack
from embedwell.models.members import Limits
from tests.core.models.archives import FILES, KINDS, add, outcome, pack, tree

Refused = Callable[..., str]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


LIMITS = Limits()


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Unpacks what must be refused, and sees that nothing is left of it: the reason."""

    def attempt(path: Path, limits: Limits = LIMITS) -> str:
        target = tmp_path / "up" / "target"
        target.mkdir(parents=True, exist_ok=True)
        before = tree(tmp_path)
        with pytest.raises(InvalidModel) as caught:
            unpack(path, target, limits=limits)
        assert tree(tmp_path) == before
        assert str(tmp_path) not in caught.value.message
        return caught.value.message

    return attempt


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Writing more to one file raises, and not what an archive is refused with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "name",
    [
        *("../x.json", "a/../../x.json", "m/..", "/abs.json", "//host/share/x", "./../x"),
        *("C:\\x.json", "C:x", "a\\..\\..\\x.json", "\\\\host\\share", "m/..\\x"),
        *("con", "m/NUL.json", "aux.safetensors", "m/com1/x.json", "x.json.", "x.json ", " x"),
        *("a\x1b[2Jb", "a\nb", "a\tb", "a\x7f", "na\u0308me.json", "\u202egpj.exe", ".hidden", "-"),
        *("x" * 300 + ".json", "/".join("abcdefghi"), "a:b", "$HOME", "`id`", "a;b", "a|b", "*"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, refused: Refused, kind: str, name: str) -> None:
    why = refused(pack(tmp_path / "a", kind, {"config.json": b"{}", name: b"evil"}))
    assert why.startswith("File name not accepted: '")
    assert why.isascii()
    assert why.isprintable()


def test_a_name_that_ends_early(tmp_path: Path, refused: Refused) -> None:
    info = zipfile.ZipInfo("x.json")
    with zipfile.ZipFile(tmp_path / "a", "w") as packed:
        info.filename = "x.json\0.py"
        packed.writestr(info, b"evil")
    assert "'x.json\\\\x00.py'".replace("\\\\", "\\") in refused(tmp_path / "a")


def test_the_top_folder_cannot_lead_elsewhere(tmp_path: Path, refused: Refused, kind: str) -> None:
    assert "leads out" in refused(pack(tmp_path / "a", kind, {"../config.json": b"{}"}))


@pytest.mark.parametrize(
    ("type_", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.FIFOTYPE, "neither a file nor a folder"),
        (tarfile.CHRTYPE, "neither a file nor a folder"),
        (tarfile.BLKTYPE, "neither a file nor a folder"),
        (b"Z", "neither a file nor a folder"),
    ],
)
def test_what_is_no_file(tmp_path: Path, refused: Refused, type_: bytes, what: str) -> None:
    with tarfile.open(tmp_path / "a", "w:gz") as tar:
        add(tar, "m/config.json", b"{}")
        add(tar, "m/x.json", kind=type_)
    assert refused(tmp_path / "a") == f"'x.json' is {what}: pack plain files only"


def test_a_file_through_a_link(tmp_path: Path, refused: Refused) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(tmp_path / "a", "w") as tar:
        link = tarfile.TarInfo("m/away")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        tar.addfile(link)
        add(tar, "m/away/x.json", b"evil")
        add(tar, "m/config.json", b"{}")
    assert "'away' is a link" in refused(tmp_path / "a")
    target = tmp_path / "target"
    target.mkdir()
    unpack(tmp_path / "a", target, only=lambda name: name != "away")
    assert tree(target) == {"away/x.json": b"evil", "config.json": b"{}"}
    assert not list(outside.iterdir())
    assert not (target / "away").is_symlink()


def zip_entry(path: Path, *, mode: int = 0, flags: int = 0, method: int = 0) -> Path:
    info = zipfile.ZipInfo("x.json")
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(info, b"/etc/passwd")
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for place in (6, directory + 8):
        struct.pack_into("<HH", data, place, flags, method)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"mode": 0o120777}, "a link"),
        ({"mode": 0o010666}, "neither a file nor a folder"),
        ({"mode": 0o060666}, "neither a file nor a folder"),
        ({"flags": 1}, "encrypted"),
        ({"flags": 0x41}, "encrypted"),
        ({"method": 12}, "compressed in a way that is not read here"),
        ({"method": 14}, "compressed in a way that is not read here"),
        ({"method": 93}, "compressed in a way that is not read here"),
    ],
)
def test_zip_entries_that_are_no_plain_file(
    tmp_path: Path, refused: Refused, entry: dict[str, int], what: str
) -> None:
    assert f"'x.json' is {what}" in refused(zip_entry(tmp_path / "a", **entry))


def zip_bomb(path: Path, declared: int, times: int = 1000) -> Path:
    """One entry of 10 MB of zeros, `times` over, that says it unpacks to `declared`."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = piece * times + b"\x03\x00"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("x.json", data)
    whole = bytearray(path.read_bytes())
    for place in (0, whole.rindex(b"PK\x01\x02") + 2):
        struct.pack_into("<H", whole, place + 8, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", whole, place + 22, declared)
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("declared", [4_000_000_000, 1000, 0])
def test_ten_megabytes_that_unpack_to_ten_gigabytes(
    tmp_path: Path, refused: Refused, declared: int
) -> None:
    path = zip_bomb(tmp_path / "a", declared)
    with no_file_beyond(1_000_000):
        why = refused(path)
    assert "expands more than 200 times" in why or "damaged" in why


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_of_many_small_files(tmp_path: Path, refused: Refused, kind: str) -> None:
    files = {f"{i}.json": bytes(9_000_000) for i in range(4)}
    assert "expands more than 200 times" in refused(pack(tmp_path / "a", kind, files))


def test_a_bomb_behind_much_that_is_none(tmp_path: Path, refused: Refused) -> None:
    files = {"x.json": random.Random(1).randbytes(1_000_000), "y.json": bytes(11_000_000)}
    assert "expands more than 200 times" in refused(pack(tmp_path / "a", "zip", files))


def test_a_bomb_in_gzip(tmp_path: Path, refused: Refused) -> None:
    info = tarfile.TarInfo("x.json")
    info.size = 10_000_000_000
    piece = gzip.compress(bytes(10_000_000))
    (tmp_path / "a").write_bytes(gzip.compress(info.tobuf()) + piece * 1000)
    with no_file_beyond(12_000_000):
        assert "expands more than 200 times" in refused(tmp_path / "a")


def test_entries_that_overlap(tmp_path: Path, refused: Refused) -> None:
    body = pack(tmp_path / "a", "zip", {"x.json": bytes(range(256)) * 100}).read_bytes()
    start = body.index(b"PK\x01\x02")
    end = body.index(b"PK\x05\x06")
    entry = body[start:end]
    closing = bytearray(body[end:])
    struct.pack_into("<HHI", closing, 8, 50, 50, 50 * len(entry))
    (tmp_path / "a").write_bytes(body[:start] + entry * 50 + closing)
    assert "damaged" in refused(tmp_path / "a")


def test_an_archive_in_an_archive_stays_one(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner", "zip", {"../../evil": b"x"}).read_bytes()
    (tmp_path / "target").mkdir()
    unpack(pack(tmp_path / "a", "zip", {"inner.zip": inner}), tmp_path / "target")
    assert tree(tmp_path / "target") == {"inner.zip": inner}


@pytest.mark.parametrize("same", [("A.safetensors", "a.safetensors"), ("B/x.json", "b/y.json")])
def test_names_that_differ_in_case(
    tmp_path: Path, refused: Refused, kind: str, same: tuple[str, str]
) -> None:
    assert "only in case" in refused(pack(tmp_path / "a", kind, dict.fromkeys(same, b"x")))


def test_a_file_that_is_a_folder_too(tmp_path: Path, refused: Refused, kind: str) -> None:
    files = {"x": b"1", "x/y.json": b"2"}
    assert "both a file and a folder" in refused(pack(tmp_path / "a", kind, files))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice(tmp_path: Path, refused: Refused) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as packed:
        packed.writestr("x.json", b"1")
        packed.writestr("./x.json", b"2")
    assert "'x.json' is in the archive twice" in refused(tmp_path / "a")
    with tarfile.open(tmp_path / "b", "w") as tar:
        add(tar, "x.json", b"1")
        add(tar, "x.json", b"2")
    assert "'x.json' is in the archive twice" in refused(tmp_path / "b")


def test_a_thousand_folders_deep(tmp_path: Path, refused: Refused, kind: str) -> None:
    for deep in ("d/" * 1000 + "x.json", "d/" * 1000):
        why = refused(pack(tmp_path / "a", kind, {deep: b"", "config.json": b"{}"}))
        assert "more than 8 folders deep" in why
    why = refused(pack(tmp_path / "a", kind, {"d/" * 3000 + "x.json": b"", "x": b""}))
    assert "it is too long" in why


def test_a_hundred_thousand_entries(tmp_path: Path, refused: Refused) -> None:
    with tarfile.open(tmp_path / "a", "w") as tar:
        block = tarfile.TarInfo(".git/x").tobuf()
        assert tar.fileobj is not None
        tar.fileobj.write(block * 100_001)
    assert refused(tmp_path / "a") == "The archive has more than 100,000 entries"
    body = pack(tmp_path / "b", "zip", {".git/x": b""}).read_bytes()
    start, end = body.index(b"PK\x01\x02"), body.index(b"PK\x05\x06")
    entries = body[start:end] * 100_001
    closing = bytearray(body[end:])
    struct.pack_into("<I", closing, 12, len(entries))
    (tmp_path / "b").write_bytes(body[:start] + entries + closing)
    assert refused(tmp_path / "b") == "The archive has more than 100,000 entries"
    closing[12:16] = struct.pack("<I", 30_000_000)
    (tmp_path / "b").write_bytes(body[:start] + entries.ljust(30_000_000, b"x") + closing)
    assert "directory is larger than 20,000,000 bytes" in refused(tmp_path / "b")


@pytest.mark.parametrize("names", ["{}.json", "{}/"])
def test_more_files_than_a_model_has(
    tmp_path: Path, refused: Refused, kind: str, names: str
) -> None:
    files = {names.format(i): b"" for i in range(1001)} | {"x": b""}
    assert "holds more than 1,000 f" in refused(pack(tmp_path / "a", kind, files))


def test_extended_headers_are_not_taken_into_memory(tmp_path: Path, refused: Refused) -> None:
    for type_ in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, b"K"):
        info = tarfile.TarInfo("x")
        info.type, info.size = type_, 8_000_000_000
        (tmp_path / "a").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(100_000))
        assert "a header of more than 65,536 bytes" in refused(tmp_path / "a")


@pytest.mark.parametrize(
    "records",
    [b"9" * 60_000, b"5 a=b\n", b"0 a=b\n", b"6 a=b\n9", b"7 path=\n", b"x", b"6 abcd\n",
     b"19 size=99999999999999999999999999999\n", b"11 size=-1\n"],
)  # fmt: skip
def test_extended_headers_that_lie(tmp_path: Path, refused: Refused, records: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    padded = records.ljust(-(-len(records) // 512) * 512, b"\0")
    rest = tarfile.TarInfo("x.json").tobuf() + bytes(1024)
    (tmp_path / "a").write_bytes(info.tobuf() + padded + rest)
    assert "damaged" in refused(tmp_path / "a") or records == b"7 path=\n"


def test_sparse_files(tmp_path: Path, refused: Refused) -> None:
    info = tarfile.TarInfo("x.json")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "9" * 15}
    (tmp_path / "a").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    assert "x.json is a sparse file: pack the model without --sparse" in refused(tmp_path / "a")
    old = tarfile.TarInfo("x.json")
    old.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a").write_bytes(old.tobuf() + bytes(1024))
    assert "sparse" in refused(tmp_path / "a")


def test_what_is_cut_short(tmp_path: Path, refused: Refused, kind: str) -> None:
    files = {name: data * 300 for name, data in FILES.items()}
    whole = pack(tmp_path / "a", kind, files).read_bytes()
    for length in (
        {*range(600, len(whole) - 10_300, 97), len(whole) // 2, 520}
        if kind == "tar"
        else (range(30, len(whole) - 1, 13))
    ):
        (tmp_path / "a").write_bytes(whole[:length])
        assert "damaged" in refused(tmp_path / "a")


def test_what_is_altered(tmp_path: Path, refused: Refused) -> None:
    for kind in ("zip", "tar.gz"):
        whole = bytearray(
            pack(tmp_path / "a", kind, {"x.json": bytes(range(256)) * 40}).read_bytes()
        )
        whole[len(whole) // 3] ^= 0xFF
        (tmp_path / "a").write_bytes(whole)
        assert "damaged" in refused(tmp_path / "a")


def test_places_far_away(tmp_path: Path, refused: Refused) -> None:
    body = bytearray(pack(tmp_path / "a", "zip", FILES).read_bytes())
    closing = body.index(b"PK\x05\x06")
    for offset, value in [(16, 2**31), (16, 2**32 - 2), (12, 2**32 - 2), (12, 1)]:
        altered = body.copy()
        struct.pack_into("<I", altered, closing + offset, value)
        (tmp_path / "a").write_bytes(altered)
        assert "damaged" in refused(tmp_path / "a")
    for size in (2**62, 2**63 - 1, 2**80):
        info = tarfile.TarInfo(".git/x")
        info.size = size
        (tmp_path / "a").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        assert "damaged" in refused(tmp_path / "a")


@settings(max_examples=200)
@given(st.sampled_from(KINDS), st.data())
def test_whatever_bytes_are_changed(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    box = tmp_path_factory.mktemp("box")
    whole = bytearray(pack(box / "a", kind, FILES).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    (box / "a").write_bytes(whole)
    (box / "target").mkdir()
    message = outcome(box / "a", box / "target")
    assert str(box) not in message
    assert not message or tree(box / "target") == {}
    assert set(tree(box)) - {"a"} == {f"target/{name}" for name in tree(box / "target")}


def test_memory_stays_flat(tmp_path: Path, kind: str) -> None:
    noise = random.Random(1).randbytes(32_000_000)
    path = pack(tmp_path / "a", kind, {"m/x.json": noise}, level=0)
    (tmp_path / "target").mkdir()
    tracemalloc.start()
    unpack(path, tmp_path / "target")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "target" / "x.json").stat().st_size == 32_000_000
    assert peak < 8_000_000


def test_the_disk_is_not_filled(tmp_path: Path, refused: Refused, kind: str) -> None:
    path = pack(tmp_path / "a", kind, {"x.json": random.Random(1).randbytes(5_000_000)})
    with no_file_beyond(3_000_000):
        assert "more bytes than a model may have" in refused(path, limits=Limits(bytes=2_000_000))
