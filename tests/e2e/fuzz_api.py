"""Requests made from the OpenAPI documents, ours and OpenAI's, against a real server.

    python -m tests.e2e.fuzz_api [examples]

Starts a server on a folder of its own; exits non-zero where an answer is not as its document says.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.minilm import MINILM
from tests.faults.served import BASE, served

HERE = Path(__file__).parent
OPENAI = HERE / "openai_embeddings.json"
SEED = 1
OURS_TOO = "unsupported_method"  # DELETE, which is ours, at a path of theirs
VOCABULARY, DIMENSIONS = 30_522, 384
# Uploads and imports may come, but nothing leaves this machine: nobody listens at port 1.
NOWHERE = """
[sources.huggingface]
endpoint = "http://127.0.0.1:1"
[sources.github]
api_url = "https://127.0.0.1:1/api/v3"
web_url = "https://127.0.0.1:1"
"""


def openais() -> dict[str, Any]:
    """OpenAI's document, about the one model that the server has."""
    document: dict[str, Any] = json.loads(OPENAI.read_text())
    schemas = document["components"]["schemas"]
    schemas["Name"]["enum"] = [MINILM]
    schemas["Tokens"]["items"]["maximum"] = VOCABULARY - 1
    schemas["Request"]["properties"]["dimensions"]["maximum"] = DIMENSIONS
    return document


async def fuzz(
    folder: Path, document: str, url: str, examples: int, *words: str
) -> tuple[int, str]:
    """The exit code of schemathesis, and what it says; it leaves things in `folder`."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")), "--config-file", str(HERE / "schemathesis.toml"),
        "run", document, "--url", url, "--max-examples", str(examples), "--seed", str(SEED), *words, cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode()


async def both(folder: Path, examples: int) -> Sequence[tuple[int, str]]:
    """Ours, then OpenAI's, on one server."""
    document = folder / "openai.json"
    document.write_text(json.dumps(openais()))
    async with served(folder, BASE + NOWHERE) as server:
        return [
            await fuzz(folder, f"{server.url}/openapi.json", server.url, examples),
            await fuzz(folder, str(document), server.url, examples, "--exclude-checks", OURS_TOO),
        ]


def main() -> None:
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(both(Path(folder), examples))
    for _, told in results:
        print(told)
    sys.exit(max(code for code, _ in results))


if __name__ == "__main__":
    main()
