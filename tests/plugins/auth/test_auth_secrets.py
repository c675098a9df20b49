"""The process itself says nothing of a key, whatever is done with it."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from embedwell_plugin_auth.digests import digest
from tests.e2e.test_serve import process, ready_line
from tests.plugins.auth.some_keys import ADMIN, USER, WRONG, bearer

KEYS = (
    '{user = {key = {env = "THE_KEY"}, requests_per_minute = 20}, '
    'admin = {key = {file = "the.key"}, scopes = ["manage"]}}'
)
FORMS = ("api-key", "x-api-key")


async def requests(url: str) -> Sequence[httpx.Response]:
    """With right keys and wrong ones, by every header; also where nobody would look for one."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        found = [await client.get(path, headers=bearer(ADMIN)) for path in ("/plugins", "/tasks")]
        found += [
            await client.get("/openapi.json"),
            await client.get("/info", headers=bearer(USER)),
        ]
        for key in (USER, WRONG, ADMIN):
            found += [await client.get("/models", headers={name: key}) for name in FORMS]
            found += [await client.get(f"/models?api_key={key}", headers=bearer(key))]
            found += [await client.post("/embeddings", content=b"{", headers=bearer(key))]
        found += [await client.get("/models", headers=bearer(USER)) for _ in range(40)]
    return found


async def commands(tmp_path: Path) -> str:
    said = ""
    for word in ("plugins", "check-config"):
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "embedwell", word, cwd=tmp_path, env=os.environ,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(started.communicate(), 60)
        assert started.returncode == 0, out
        said += out.decode()
    return said


async def test_no_key_is_ever_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDWELL_PLUGINS__AUTH__KEYS", KEYS)
    monkeypatch.setenv("THE_KEY", USER)
    (tmp_path / "the.key").write_text(ADMIN)
    async with process(tmp_path, "--port", "0") as started:
        line = await ready_line(started)
        answers = await requests(line.split("ready on ")[1].split(" ")[0])
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 20) == 0
        assert started.stdout
        assert started.stderr
        log = (await started.stderr.read()).decode()
        said = line + (await started.stdout.read()).decode() + log + await commands(tmp_path)
    assert {answer.status_code for answer in answers} == {200, 401, 403, 415, 429}
    said += "".join(f"{answer.headers}{answer.text}" for answer in answers)
    for key in (USER, ADMIN, WRONG):
        assert key not in said
        assert digest(key.encode()).hex() not in said
    assert "curl http://localhost" in line
    assert '-H "Authorization: Bearer $KEY"' in line
    assert "keys are asked for: user (embed); admin (manage)" in log
    assert " caller=user " in log
    assert re.search(r"requests without a valid key: \d+, the last from '127\.0\.0\.1'", log)
    assert log.count("requests without a valid key") < 4, "not a line for each"
