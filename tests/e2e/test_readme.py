"""The README does what it says: its curl commands, its client, its plugin."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell.http.wire import PreloadRequest
from embedwell.testing import make_model_folder
from embedwell.testing.server import RunningServer
from embedwell_source_github.names import Body
from embedwell_source_huggingface.actions import Pull
from tests.core.models.archives import pack_folder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.S)
CURLS = [block for block in BLOCKS if "curl -X POST" in block]
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
UPLOADS = [line for line in LINES if "/models/upload" in line]
PACKING = {"zip": "(cd my-encoder && zip", "tar": "tar -czf my-encoder.tar.gz"}


async def run(command: str, server: RunningServer, folder: Path | None = None) -> Any:
    """What a command of the README answers, told the port of this server."""
    words = shlex.split(command.replace("\\\n", " ").replace(":8000", f":{server.port}"))
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=folder
    )
    out, _ = await process.communicate()
    return json.loads(out)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("command", CURLS)
async def test_curl_commands_answer_with_vectors(server: RunningServer, command: str) -> None:
    data = (await run(command, server))["data"]
    assert data
    assert all(len(row["embedding"]) == 384 for row in data)


def test_all_three_forms_of_the_guide_are_shown() -> None:
    assert len(CURLS) == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_uploads_as_the_readme_has_them(server: RunningServer, tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "my-encoder", prompts={"query": "w1 "})
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    for tool, begin in PACKING.items():
        (line,) = [line for line in LINES if line.startswith(begin)]
        if shutil.which(tool):
            subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
        else:
            pack_folder(tmp_path / "my-encoder.zip", "zip", folder)
    assert len(UPLOADS) == 3
    for command in UPLOADS:
        answer = await run(command, server, folder if "@modules.json" in command else tmp_path)
        assert answer["model"] == "my-encoder", answer
        assert "warning" not in answer
        row = await run("curl http://localhost:8000/models/my-encoder", server)
        assert (row["max_input_tokens"], row["prompts"]) == (32, {"query": "w1 "})


@pytest.mark.asyncio(loop_scope="module")
async def test_bodies_as_the_readme_has_them(server: RunningServer) -> None:
    taken: dict[str, type[msgspec.Struct]] = {
        "/models/huggingface": Pull,
        "/models/github": Body,
        "/embeddings/preload": PreloadRequest,
    }
    shown = re.findall(r"(curl http://localhost:8000(\S+) -H \S+ \S+ -d '(.*)')", README)
    assert {path for _, path, _ in shown} == set(taken)
    for command, path, body in shown:
        assert isinstance(msgspec.json.decode(body, type=taken[path]), taken[path])
        if path == "/embeddings/preload":
            assert (await run(command, server))["task"]["kind"] == "preload"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_python_example_runs(server: RunningServer) -> None:
    (example,) = re.findall(r"```python\n(from openai.*?)```", README, re.S)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example.replace(":8000", f":{server.port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["2", "128"]


def _files() -> dict[str, str]:
    found = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", README, re.S)
    return dict(found)


def test_the_plugin_has_at_most_seventeen_lines() -> None:
    assert len(_files()["my_source.py"].splitlines()) <= 17


def test_a_third_partys_source_serves_a_model(tmp_path: Path) -> None:
    plugin, site = tmp_path / "my-source", tmp_path / "site"
    plugin.mkdir()
    for name, text in _files().items():
        (plugin / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(plugin)], check=True)
    make_model_folder(tmp_path / "my-models" / "some-model")
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "200", "8", "folder"]


ASK = """
import asyncio
import httpx
from embedwell.config.schema import Config, Server
from embedwell.testing import FakeBackend
from embedwell.testing.server import running_server

async def main():
    config = Config(server=Server(data_dir="data"))
    async with running_server(config, backend=FakeBackend()) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            print((await http.get("/models/some-model")).status_code)
            body = {"model": "some-model", "input": "w1 w2"}
            answer = await http.post("/embeddings", json=body)
            row = answer.json()["data"][0]["embedding"]
            plugins = (await http.get("/plugins")).text
            print(answer.status_code, len(row), "folder" if "source folder" in plugins else plugins)

asyncio.run(main())
"""
