"""T23: two thousand requests of sixty-four clients to three models; each gets its own vectors."""

import base64
import http.client
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tests.faults.aftermath import Aftermath, state
from tests.faults.target import MODELS, VOCABULARY, WORDS, Target

CLIENTS, REQUESTS, TEXTS = 64, 2_000, 40
MOST = 8  # inputs of one request
DISTANCE = 1e-5

Vectors = np.ndarray[Any, np.dtype[np.float64]]


def inputs(dice: random.Random) -> list[Any]:
    """Texts of any length, and token lists."""
    texts = [
        " ".join(f"w{dice.randrange(WORDS)}" for _ in range(dice.choice([0, 1, 3, 9, 30, 80])))
        for _ in range(TEXTS)
    ]
    lists = [
        [dice.randrange(5, VOCABULARY) for _ in range(dice.choice([1, 5, 40, 90]))]
        for _ in range(TEXTS // 4)
    ]
    return [*texts, *lists]


class Client:
    """One connection that asks again and again, and compares what it gets."""

    def __init__(self, port: int, pool: list[Any], golden: dict[str, Vectors]) -> None:
        self._port, self._pool, self._golden = port, pool, golden

    def run(self, seed: int) -> float:
        """The largest difference of a number to the single request's."""
        dice = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            count = REQUESTS // CLIENTS + (seed < REQUESTS % CLIENTS)
            return max(self._one(connection, dice) for _ in range(count))
        finally:
            connection.close()

    def _one(self, connection: http.client.HTTPConnection, dice: random.Random) -> float:
        model, form = dice.choice([*MODELS]), dice.choice(["float", "base64"])
        lists = dice.random() < 1 / 3
        same = [i for i, given in enumerate(self._pool) if isinstance(given, list) == lists]
        chosen = [dice.choice(same) for _ in range(dice.randrange(1, MOST + 1))]
        body = {"model": model, "input": [self._pool[i] for i in chosen], "encoding_format": form}
        connection.request(
            "POST", "/v1/embeddings", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 200, told
        assert [row["index"] for row in told["data"]] == list(range(len(chosen)))
        got = np.array([numbers(row["embedding"]) for row in told["data"]])
        return float(np.abs(got - self._golden[model][chosen]).max())


def numbers(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return embedding


def test_t23_each_vector_is_that_of_a_request_by_itself(
    target: Target, aftermath: Aftermath
) -> None:
    pool = inputs(random.Random(23))
    golden = {
        model: np.concatenate([target.vectors([given], model) for given in pool])
        for model in MODELS
    }
    for vectors in golden.values():  # or any mix-up would go unnoticed
        assert len(np.unique(vectors.round(4), axis=0)) >= len({json.dumps(g) for g in pool}) - 3
    client = Client(target.port, pool, golden)
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client.run, range(CLIENTS, 2 * CLIENTS)))  # each thread has its heap now
        aftermath.base = state(target)
        worst = max(threads.map(client.run, range(CLIENTS)))
    print(f"{REQUESTS:,} requests of {CLIENTS} clients: no number further off than {worst:.1e}")
    assert worst <= DISTANCE
