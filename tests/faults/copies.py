"""Copies of the real model that differ by their prompt, uploaded to a server as models of their own."""

import asyncio
import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.minilm import Vectors, model_files
from tests.faults.upload_server import Running

PROMPTS = "config_sentence_transformers.json"


def packed(prompt: str) -> bytes:
    """The model, with `prompt` put before every text, as a tar."""
    changed = {"prompts": {"p": prompt}, "default_prompt_name": "p"}
    files = {**model_files(), PROMPTS: json.dumps(changed).encode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


async def publish(server: Running, name: str) -> None:
    content = await asyncio.to_thread(packed, f"{name}: ")
    sent = await server.client.put("/models/upload", params={"model": name}, content=content)
    sent.raise_for_status()


async def vector(server: Running, name: str, text: str = "a text") -> Vectors:
    body = {"model": name, "input": text, "encoding_format": "base64"}
    answer = await server.client.post("/embeddings", json=body)
    answer.raise_for_status()
    return np.frombuffer(base64.b64decode(answer.json()["data"][0]["embedding"]), "<f4")


async def cache(server: Running) -> dict[str, Any]:
    answer = await server.client.get("/embeddings/cache/status")
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def of_process(pid: int, field: str) -> int:
    """A number from /proc: `VmRSS` in bytes, `Threads`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            words = line.split()
            return int(words[1]) * (1024 if words[-1] == "kB" else 1)
    raise KeyError(field)
