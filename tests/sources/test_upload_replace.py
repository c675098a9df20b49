"""Replacing a model that is being asked: every answer is wholly of one revision."""

import asyncio
from pathlib import Path

from tests.sources.upload_driver import packed, site

TEXTS = [f"w{n} w{n + 1} w{2 * n}" for n in range(6)]
ROUNDS = 10
CLIENTS = 2


async def test_replacing_under_load(tmp_path: Path) -> None:
    versions = [
        packed(tmp_path, "zip", hidden=8 * (1 + n % 2), prompts={"query": f"w{n} "})
        for n in range(ROUNDS)
    ]
    golden: dict[int, list[list[float]]] = {}
    seen: set[int] = set()
    answers: asyncio.Queue[int] = asyncio.Queue()
    over = asyncio.Event()
    async with site(tmp_path) as running:

        async def vectors() -> list[list[float]]:
            answer = await running.embed("m", *TEXTS)
            assert answer.status_code == 200, answer.text
            return [row["embedding"] for row in answer.json()["data"]]

        async def load() -> None:
            while not over.is_set():
                rows = await vectors()
                assert rows == golden[len(rows[0])]
                answers.put_nowait(len(rows[0]))

        for version in versions[:2]:
            assert (await running.put("m", version)).status_code == 201
            rows = await vectors()
            golden[len(rows[0])] = rows
        assert set(golden) == {8, 16}
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(load())
            revisions = set()
            for version in versions:
                answer = await running.put("m", version)
                assert answer.status_code == 201
                revisions.add(answer.json()["revision"])
                seen |= {await answers.get() for _ in range(answers.qsize() + CLIENTS)}
            over.set()
        assert len(revisions) == ROUNDS
        assert seen == {8, 16}
