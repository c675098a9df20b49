"""The openai package, blocking; with the word `async` its other half."""

import asyncio
import sys
from typing import Any

import openai
from adapter import Answer, Job, chosen, serve


def blocking(job: Job) -> Answer:
    with openai.OpenAI(**_settings(job)) as client:
        if job["call"] == "models":
            return {"models": [model.id for model in client.models.list()]}
        asked = {"model": job["model"], "input": job["input"], **chosen(job)}
        return _read(client.embeddings.create(**asked))


async def awaiting(job: Job) -> Answer:
    async with openai.AsyncOpenAI(**_settings(job)) as client:
        if job["call"] == "models":
            return {"models": [model.id async for model in client.models.list()]}
        asked = {"model": job["model"], "input": job["input"], **chosen(job)}
        return _read(await client.embeddings.create(**asked))


def _settings(job: Job) -> dict[str, Any]:
    return {
        "base_url": job["url"],
        "api_key": job["key"],
        "max_retries": job["retries"],
        "timeout": job["timeout"],
    }


def _read(answer: openai.types.CreateEmbeddingResponse) -> Answer:
    vectors = [row.embedding for row in answer.data]
    return {"vectors": vectors, "tokens": answer.usage.total_tokens}


serve(blocking if sys.argv[1:] != ["async"] else lambda job: asyncio.run(awaiting(job)))
