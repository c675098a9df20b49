"""Which files of a repository a model needs: by name, and nothing that could be code."""

import re
from collections.abc import Iterable

from msgspec import Struct

from embedwell import InvalidModel

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FOLDER = r"(?P<folder>(?:[0-9]{1,2}_[A-Za-z0-9]{1,50}/)?)"
_JSON = (
    "config|modules|config_sentence_transformers|sentence_[a-z-]{1,30}_config"
    "|tokenizer|tokenizer_config|special_tokens_map"
)
_WANTED = re.compile(
    rf"{_FOLDER}(?:(?:{_JSON})\.json|(?P<single>model\.safetensors)"
    r"|(?P<shard>model\.safetensors\.index\.json|model-[0-9]{5}-of-[0-9]{5}\.safetensors))"
)
_ELSEWHERE = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf", ".ckpt")


class Plan(Struct, frozen=True):
    """A download, decided: files of one commit, `size` bytes in all."""

    repo: str
    commit: str
    files: tuple[str, ...]
    size: int


def choose(names: Iterable[str], shown: str) -> tuple[str, ...]:
    """The files to fetch, sorted; raises InvalidModel, with `shown` as the model's name.

    Where a folder has its weights both whole and in shards, the whole file is enough.
    """
    known = set(names)
    found = [match for name in known if (match := _WANTED.fullmatch(name))]
    whole = {match["folder"] for match in found if match["single"]}
    chosen = {match[0] for match in found if not (match["shard"] and match["folder"] in whole)}
    body = next(iter(_bodies(chosen)), None)
    if body is None:
        raise InvalidModel(f"{shown} has no config.json: it is not a transformers model")
    if not {body + SINGLE, body + INDEX} & chosen:
        raise InvalidModel(f"{shown} {_why_no_weights(known)}")
    if body + "tokenizer.json" not in chosen:
        raise InvalidModel(f"{shown} has no tokenizer.json (a fast tokenizer), which is needed")
    return tuple(sorted(chosen))


def _bodies(chosen: set[str]) -> list[str]:
    """Folders that may hold the transformer, the likeliest first; "" is the repository itself."""
    ends = ("", "0_Transformer/")
    return [folder for folder in ends if f"{folder}config.json" in chosen]


def _why_no_weights(names: set[str]) -> str:
    other = next((name for name in sorted(names) if name.endswith(_ELSEWHERE)), None)
    if other is None:
        return f"has no weights ({SINGLE})"
    return (
        f"has no safetensors weights, only {other[:100]}: convert them, "
        "or ask for a revision that has them"
    )
