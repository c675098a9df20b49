"""POST /embeddings: wire to call, rows to wire."""

from collections.abc import Sequence

from embedwell.http import vectors
from embedwell.http.core import Core
from embedwell.http.wire import EmbeddingRequest, EmbeddingResponse
from embedwell.interfaces.embedding import Timings
from embedwell.interfaces.routes import Reply, Request, Route

MAX_RANGES = 1000
ERRORS = (
    "NOT_FOUND",
    "CONFLICT",
    "INVALID_MODEL",
    "MODEL_ERROR",
    "OVERLOADED",
    "MEMORY_ERROR",
    "LOADING",
    "SOURCE_ERROR",
)
HEADERS = {
    "server-timing": "Milliseconds in the queue, for tokens and for inference, and in all",
    "x-embedwell-truncated": "Indices of the inputs that were cut, such as 3,7-9; else absent",
}


def routes(core: Core) -> Sequence[Route]:
    """The route that everything else is there for."""

    async def embed(request: Request) -> Reply:
        wanted: EmbeddingRequest = request.body
        call = wanted.call(core.parse_tag(wanted.model), request, core.max_inputs)
        result = await core.embedder.embed(call)
        return Reply(
            body=await vectors.write(result, wanted.model, wanted.encoding_format == "base64"),
            headers=_headers(result.truncated, result.timings),
            model=result.model,
            inputs=len(result.rows),
            tokens=result.tokens,
        )

    return [
        Route(
            method="POST",
            path="/embeddings",
            handler=embed,
            access="embed",
            summary="Texts or token lists to vectors, in the order they were given",
            body=EmbeddingRequest,
            replies={200: EmbeddingResponse},
            errors=ERRORS,
            headers=HEADERS,
        )
    ]


def _headers(truncated: Sequence[int], timings: Timings) -> dict[str, str]:
    headers = {"server-timing": server_timing(timings)}
    if truncated:
        headers["x-embedwell-truncated"] = ranges(truncated)
    return headers


def server_timing(timings: Timings) -> str:
    """Milliseconds, as browsers and proxies read them."""
    parts = {
        "queue": timings.queue,
        "tokenize": timings.tokenize,
        "inference": timings.inference,
        "total": timings.total,
    }
    return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts.items())


def ranges(indices: Sequence[int]) -> str:
    """Indices as `3,7-9`; beyond 1,000 bytes the first of them, then `...;count=N`."""
    parts = [f"{a}" if a == b else f"{a}-{b}" for a, b in _runs(sorted(indices))]
    whole = ",".join(parts)
    if len(whole) <= MAX_RANGES:
        return whole
    end = f"...;count={len(indices)}"
    cut = whole[: MAX_RANGES - len(end)]
    return cut[: cut.rfind(",") + 1] + end


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
