"""Tags: the grammar, and nothing beside it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.errors import Invalid
from embedwell.interfaces.models import TAG_PATTERN, ModelRef
from embedwell.models import tag

SEGMENT = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True)
NAMES = st.builds("/".join, st.lists(SEGMENT, min_size=1, max_size=2))
REVISIONS = st.from_regex(r"[A-Za-z0-9._/-]{1,128}", fullmatch=True).filter(lambda r: ".." not in r)
SOURCES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}", fullmatch=True)


@given(st.builds(ModelRef, NAMES, st.none() | REVISIONS, st.none() | SOURCES))
def test_every_tag_is_read_as_it_is_written(ref: ModelRef) -> None:
    assert tag.parse(str(ref)) == ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("minilm", ModelRef("minilm")),
        ("owner/name", ModelRef("owner/name")),
        ("owner/name@v1/x", ModelRef("owner/name", "v1/x")),
        ("huggingface:owner/name@refs/pr/1", ModelRef("owner/name", "refs/pr/1", "huggingface")),
        ("a" * 96 + "/" + "b" * 96, ModelRef("a" * 96 + "/" + "b" * 96)),
    ],
)
def test_examples(text: str, ref: ModelRef) -> None:
    assert tag.parse(text) == ref


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected 'name' or 'owner/name'"),
        ("a/b/c", "expected"),
        ("/a", "expected"),
        ("a/", "expected"),
        ("..", "expected"),
        ("a/../b", "expected"),
        (".hidden", "expected"),
        ("name\n", "expected"),
        ("na me", "expected"),
        ("naïve", "expected"),
        ("a" * 97, "expected"),
        ("a\x00b", "expected"),
        ("\udc80", "expected"),
        (":name", "part before ':'"),
        ("so.urce:name", "part before ':'"),
        ("a:b:c", "part before ':'"),
        ("name@", "revision after '@'"),
        ("name@a..b", "revision after '@'"),
        ("name@a b", "revision after '@'"),
        ("name@a@b", "revision after '@'"),
        ("name@" + "r" * 129, "revision after '@'"),
        ("x" * 10_000, "longer than 419 characters"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        tag.parse(text)
    assert caught.value.param == "model"
    assert len(caught.value.message) < 350
    caught.value.message.encode()


@given(st.text(max_size=600))
def test_any_text_is_a_tag_or_refused(text: str) -> None:
    try:
        assert str(tag.parse(text)) == text
    except Invalid as refused:
        refused.message.encode()


@given(st.builds(ModelRef, NAMES, st.none() | REVISIONS, st.none() | SOURCES))
def test_the_pattern_for_clients_knows_every_tag(ref: ModelRef) -> None:
    assert re.fullmatch(TAG_PATTERN, str(ref))


@given(st.from_regex(TAG_PATTERN, fullmatch=True) | st.text(alphabet="aZ0._-/:@ \n", max_size=20))
def test_what_the_pattern_takes_is_a_tag(text: str) -> None:
    fits = re.fullmatch(TAG_PATTERN, text) is not None and ".." not in text.partition("@")[2]
    try:
        tag.parse(text)
    except Invalid:
        assert not fits
    else:
        assert fits
