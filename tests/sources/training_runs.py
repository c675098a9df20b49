"""Folders as trainers leave them, made of the little zero-weight BERT."""

import json
import shutil
import struct
from pathlib import Path

from embedwell.testing import make_model_folder

BASE = "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"


def change(folder: Path, value: int) -> None:
    """Other weights, put in place by a rename as safetensors does."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] = value
    path.with_name("half").write_bytes(data)
    path.with_name("half").replace(path)


def final(folder: Path, value: int = 0) -> Path:
    """A sentence-transformers folder."""
    make_model_folder(folder)
    change(folder, value)
    return folder


def plain(folder: Path, value: int = 0) -> Path:
    """As the transformers Trainer writes it: no modules."""
    final(folder, value)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in BASE:
            path.unlink()
    (folder / "training_args.bin").write_bytes(b"not to be opened")
    return folder


def checkpoint(run: Path, step: int, *, best: str | None = None, value: int | None = None) -> Path:
    """A complete checkpoint-N, with what a trainer keeps beside the model."""
    folder = final(run / f"checkpoint-{step}", step % 251 if value is None else value)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / name).write_bytes(b"not to be opened")
    state: dict[str, object] = {
        "best_model_checkpoint": best,
        "global_step": step,
        "log_history": [],
    }
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def nested(folder: Path) -> Path:
    """The older form, whose transformer lies in a folder of its own."""
    final(folder)
    body = folder / "0_Transformer"
    body.mkdir()
    for name in BASE:
        (folder / name).rename(body / name)
    rows = json.loads((folder / "modules.json").read_text())
    rows[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(rows))
    return folder


def sharded(folder: Path) -> Path:
    """Two shards and their index."""
    final(folder)
    (folder / "model.safetensors").unlink()
    places = {}
    for i in (1, 2):
        name = f"model-0000{i}-of-00002.safetensors"
        tensors(folder / name, f"tensor{i}")
        places[f"tensor{i}"] = name
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def tensors(path: Path, name: str) -> None:
    header = json.dumps({name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
