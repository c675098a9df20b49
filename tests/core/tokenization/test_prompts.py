"""Which prompt a call gets."""

from typing import Any

import pytest
from msgspec.structs import replace

from embedwell.errors import Invalid
from embedwell.tokenization.prompts import prompt
from tests.core.tokenization.small_tokenizers import MANIFEST, call

BOTH = {"query": "q: ", "document": "d: ", "web": "w: "}
E5 = {"query": "query: ", "passage": "passage: "}


@pytest.mark.parametrize(
    ("prompts", "default", "options", "expected"),
    [
        ({}, None, {}, ""),
        (BOTH, None, {}, ""),
        (BOTH, "web", {}, "w: "),
        (BOTH, "gone", {}, ""),
        (BOTH, "web", {"prompt_name": "query"}, "q: "),
        (BOTH, "web", {"prompt_name": "query", "input_type": "document"}, "q: "),
        (BOTH, "web", {"input_type": "query"}, "q: "),
        (BOTH, "web", {"input_type": "document"}, "d: "),
        (BOTH, None, {"input_type": "passage"}, "d: "),
        (E5, None, {"input_type": "document"}, "passage: "),
        (E5, None, {"input_type": "query"}, "query: "),
        ({"web": "w: "}, "web", {"input_type": "query"}, ""),
        ({"query": "q: "}, "query", {"input_type": "document"}, ""),
        ({}, None, {"input_type": "document"}, ""),
    ],
)
def test_the_prompt(prompts: Any, default: Any, options: Any, expected: str) -> None:
    manifest = replace(MANIFEST, prompts=prompts, default_prompt=default)
    assert prompt(manifest, call("x", **options)) == expected


def refused(prompts: dict[str, str], **options: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        prompt(replace(MANIFEST, prompts=prompts), call("x", **options))
    assert len(caught.value.message) < 2_000
    return caught.value


def test_an_unknown_name_lists_the_names() -> None:
    error = refused(BOTH, prompt_name="kuery")
    assert error.param == "prompt_name"
    assert error.message == (
        "prompt_name: 'kuery' is unknown, the model has 'document', 'query', 'web'"
    )
    assert "has no prompts" in refused({}, prompt_name="query").message


def test_long_names_and_lists_are_shortened() -> None:
    many = {f"{i:03}" + "n" * 500: "" for i in range(100)}
    assert refused(many, prompt_name="x" * 10_000).message.endswith("and 80 more")


def test_an_unknown_type_is_refused() -> None:
    error = refused(BOTH, input_type="search_query")
    assert error.param == "input_type"
    assert error.message == 'input_type: \'search_query\' is neither "query" nor "document"'
