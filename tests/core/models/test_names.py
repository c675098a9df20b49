"""Names of models and of the files in them: an allowlist that holds on any system."""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.errors import Invalid, InvalidModel
from embedwell.models import names, tag
from embedwell.models.names import FileNames, check_file, check_publishable, stray


@pytest.mark.parametrize(
    "name",
    ["a", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "con1/upload", "9_9"],
)
def test_names_to_publish_under(name: str) -> None:
    check_publishable(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "expected 'name'"),
        ("../etc", "expected 'name'"),
        ("a/../b", "expected 'name'"),
        ("..", "expected 'name'"),
        ("/etc/passwd", "expected 'name'"),
        ("model/", "expected 'name'"),
        (" ..", "expected 'name'"),
        ("C:\\x", "expected 'name'"),
        ("\\\\h\\s", "expected 'name'"),
        ("a\\..\\b", "expected 'name'"),
        ("a/b/c", "expected 'name'"),
        (".hidden", "expected 'name'"),
        ("-rf", "expected 'name'"),
        ("ü", "expected 'name'"),
        ("a\x00", "expected 'name'"),
        ("m\n", "expected 'name'"),
        ("x" * 97, "expected 'name'"),
        ("x" * 600, "longer than"),
        ("a:b", "without a source or a revision"),
        ("a@main", "without a source or a revision"),
        ("a..b", "'..' must not"),
        ("owner/a.", "must not end with"),
        ("CON", "device"),
        ("owner/nul.txt", "device"),
        ("Lpt9.tar.gz/x", "device"),
        ("upload", "route"),
        ("github", "route"),
        ("HuggingFace", "route"),
    ],
)
def test_names_that_may_not_be_published(name: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        check_publishable(name)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("config.json", "config.json"),
        ("./1_Pooling//config.json", "1_Pooling/config.json"),
        ("onnx/model_O1.onnx", "onnx/model_O1.onnx"),
        ("a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h"),
        ("Figure 1 (a+b).png", "Figure 1 (a+b).png"),
        ("x" * 255, "x" * 255),
    ],
)
def test_file_names(name: str, normal: str) -> None:
    assert check_file(name) == normal


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "relative"),
        ("/abs", "relative"),
        ("//host/share", "relative"),
        (".", "no file"),
        ("../x", "out of the model"),
        ("a/../../x", "out of the model"),
        ("a\\..\\x", "letters, digits"),
        ("C:\\x", "letters, digits"),
        ("a:stream", "letters, digits"),
        (".hidden", "letters, digits"),
        ("-rf", "letters, digits"),
        ("dot.", "letters, digits"),
        ("blank ", "letters, digits"),
        ("a\nb", "letters, digits"),
        ("a\n", "letters, digits"),
        ("a\x00", "letters, digits"),
        ("a\udcff", "letters, digits"),
        ("é", "letters, digits"),
        (unicodedata.normalize("NFD", "é"), "letters, digits"),
        ("a/CON", "device"),
        ("Aux.json/x", "device"),
        ("com3.txt", "device"),
        ("con .txt", "device"),
        ("x" * 256, "longer than 255"),
        ("a/b/c/d/e/f/g/h/i", "folders deep"),
    ],
)
def test_file_names_that_may_not_be(name: str, why: str) -> None:
    with pytest.raises(InvalidModel, match=why):
        check_file(name)


@given(st.text(max_size=40) | st.from_regex(r"[\x20-\x7e]{1,40}"))
def test_an_accepted_file_name_stays_below_its_folder_on_any_system(name: str) -> None:
    try:
        path = check_file(name)
    except InvalidModel:
        return
    assert check_file(path) == path
    for kind in (PurePosixPath, PureWindowsPath):
        parts = kind(path).parts
        assert "/".join(parts) == path
        assert ".." not in parts
        assert not kind(path).is_absolute()
        assert not PureWindowsPath(path).drive
        assert not PureWindowsPath(path).is_reserved()


@given(st.text(max_size=120))
def test_an_accepted_model_name_is_a_tag_and_a_file_name(name: str) -> None:
    try:
        check_publishable(name)
    except Invalid:
        return
    assert tag.parse(name).name == name
    assert check_file(name) == name


def test_a_message_shows_a_part_of_a_long_name() -> None:
    with pytest.raises(InvalidModel) as caught:
        check_file("\udcff\n" * 5000)
    assert len(caught.value.message) < 250
    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    ("name", "is_stray"),
    [
        (".gitattributes", True),
        ("a/.git/config", True),
        (".cache/huggingface/download/x.lock", True),
        ("__MACOSX/._model.safetensors", True),
        ("sub/._x", True),
        (".DS_Store", True),
        ("Thumbs.db", True),
        (".env", False),
        ("git/config", False),
    ],
)
def test_strays_are_told_from_files(name: str, is_stray: bool) -> None:
    assert stray(name) is is_stray


class TestTheFilesOfOneModel:
    def test_the_same_name_again_is_the_same_file(self) -> None:
        files = FileNames()
        assert files.add("a/x") == files.add("./a/x") == "a/x"

    def test_names_must_differ_in_more_than_case(self) -> None:
        files = FileNames()
        files.add("A.safetensors")
        with pytest.raises(InvalidModel, match="only in case"):
            files.add("a.safetensors")

    def test_so_must_folders(self) -> None:
        files = FileNames()
        files.add("Pooling/x")
        with pytest.raises(InvalidModel, match="only in case"):
            files.add("pooling/y")

    @pytest.mark.parametrize(("first", "then"), [("a", "a/x"), ("a/x", "a"), ("b/c/d", "b/c")])
    def test_a_file_is_no_folder(self, first: str, then: str) -> None:
        files = FileNames()
        files.add(first)
        with pytest.raises(InvalidModel, match="both a file and a folder"):
            files.add(then)

    def test_their_number_is_bounded(self) -> None:
        files = FileNames()
        for i in range(names.MAX_FILES):
            files.add(f"f{i}")
        files.add("f0")
        with pytest.raises(InvalidModel, match="more than 1,000 files"):
            files.add("one-more")


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "a" * 128])
def test_revisions_that_a_client_can_ask_for(revision: str) -> None:
    assert names.check_revision(revision) == revision


@pytest.mark.parametrize("revision", ["", "a..b", "a b", "a" * 129, "x@y", "ü", "a\n"])
def test_other_revisions(revision: str) -> None:
    with pytest.raises(Invalid, match="Not a revision"):
        names.check_revision(revision)


@pytest.mark.parametrize("source", ["", "..", "a/b", "con", "x" * 97])
def test_sources_that_cannot_be_folders(source: str) -> None:
    with pytest.raises(Invalid, match="Not a source's name"):
        names.check_source(source)
