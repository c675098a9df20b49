"""Requests that are almost valid, by the thousand: every one gets an answer, the envelope or an end.

    python -m tests.faults.fuzz [seconds] [seed]

Eight clients send mutations of valid requests to a real server over sockets: bytes changed, cut out,
doubled, moved, requests crossed with each other. Prints the seed; exits non-zero where an answer is
none, a server error or no envelope, a connection hangs, or the server is not what it was before.
"""

import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import envelope
from tests.faults.aftermath import Aftermath
from tests.faults.rawhttp import PATIENCE, BrokenOff, parse
from tests.faults.target import Target, serving

CLIENTS = 8
MOMENT = 0.2  # seconds without a byte, after which the client says that it has no more
GOOD = {200, 201, 202, 204}
JSON = b"Host: localhost\r\nContent-Type: application/json\r\n"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="config.json"\r\n'
    b"Content-Type: application/json\r\n\r\n{}\r\n--b--\r\n"
)


def sized(head: bytes, body: bytes) -> bytes:
    """A request with its body's length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


CORPUS = (
    sized(b"POST /embeddings HTTP/1.1\r\n" + JSON, b'{"model":"tiny","input":"w1"}'),
    b"POST /v1/embeddings HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    b'f\r\n{"model":"tiny"\r\n1c\r\n,"input":[[5,6],[7]],"x":[]}\r\n0\r\nTrailer: a\r\n\r\n',
    sized(
        b"POST /v1/embeddings HTTP/1.1\r\n" + JSON + b"x-request-timeout: 2.5\r\n",
        b'{"model":"owner/other","input":["w1",""],"dimensions":8,"input_type":"query" }\n',
    ),
    b"GET /v1/models/owner%2Fother HTTP/1.1\r\nHost: localhost\r\nx-request-id: a-b.c\r\n\r\n",
    b"GET /embeddings/counter/owner/other?a=%20b&c HTTP/1.1\r\nHost: localhost\r\n\r\n"
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"DELETE /models/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n",
    sized(b"POST /embeddings/preload HTTP/1.1\r\n" + JSON, b'{"models":["tiny"]}'),
    sized(
        b"POST /models/upload?model=a HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n",
        FORM,
    ),
    sized(
        b"PUT /models/upload?model=a HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/zip\r\nExpect: 100-continue\r\n",
        b"PK\x03\x04",
    ),
    b"GET /models HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    b"GET http://localhost/models?a HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b"\t", b":", b"%", b"%2e", b"%00", b"/", b"//", b"?", b"#",
    b'"', b"{", b"[", b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"-", b"9" * 40, b"a" * 5_000, b"0", b";",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n",
    b"Content-Encoding: gzip\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b" HTTP/1.0", b"POST ",
)  # fmt: skip


def mutations(corpus: Sequence[bytes], seed: int, count: int) -> Iterator[bytes]:
    """The same ones for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        made = bytearray(dice.choice(corpus))
        for _ in range(dice.choice((1, 1, 2, 3, 8))):
            _mutate(made, dice, corpus)
        yield bytes(made)


def _mutate(made: bytearray, dice: random.Random, corpus: Sequence[bytes]) -> None:
    at = dice.randrange(len(made) + 1)
    end = min(len(made), at + dice.choice((1, 1, 4, 30)))
    match dice.randrange(6):
        case 0:
            made[at:end] = dice.randbytes(end - at)
        case 1:
            del made[at:end]
        case 2:
            made[at:at] = dice.choice(TOKENS)
        case 3:
            made[at:at] = made[at:end] * dice.choice((1, 2, 50))
        case 4:
            other = dice.choice(corpus)
            made[at:] = other[dice.randrange(len(other)) :]
        case 5:
            moved = made[at:end]
            del made[at:end]
            made[dice.randrange(len(made) + 1) :] += moved


def look(port: int, sent: bytes) -> list[int]:
    """The statuses that came back; raises AssertionError for what may not be."""
    received, cut = _answered(port, sent)
    statuses = []
    try:
        for answer in parse(received):
            statuses.append(answer.status)
            if answer.status not in GOOD:
                assert answer.status < 500, answer
                envelope.check(answer, {*envelope.CODES, *envelope.OTHERS}, None)
    except BrokenOff:
        assert cut, received  # who hangs up may miss the rest
    return statuses


def _answered(port: int, sent: bytes) -> tuple[bytes, bool]:
    """What came back until the server closed, and whether the client had hung up before."""
    received, cut = bytearray(), False
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(sent)
            connection.settimeout(MOMENT)
            while True:
                try:
                    chunk = connection.recv(1 << 16)
                except TimeoutError:
                    assert not cut, f"it hangs: {bytes(received)!r}"
                    cut = True
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(PATIENCE)
                    continue
                if not chunk:
                    break
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            cut = True
    return bytes(received), cut


class Fuzz:
    """Clients side by side until time is up or one of them finds something."""

    def __init__(self, target: Target, seconds: float, seed: int) -> None:
        self.target, self.seed = target, seed
        self.deadline = time.monotonic() + seconds
        self.statuses: Counter[int] = Counter()
        self.found: list[str] = []

    def run(self) -> None:
        clients = [threading.Thread(target=self._one, args=(n,)) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def _one(self, number: int) -> None:
        for sent in mutations(CORPUS, self.seed * CLIENTS + number, sys.maxsize):
            if self.found or time.monotonic() > self.deadline:
                return
            try:
                self.statuses.update(look(self.target.port, sent) or [0])
            except (AssertionError, ValueError, KeyError, OSError) as error:
                self.found.append(f"{error!r}\nafter {sent!r}")


def run(seconds: float, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as place, serving(Path(place)) as target:
        aftermath = Aftermath(target)
        fuzz = Fuzz(target, seconds, seed)
        fuzz.run()
        try:
            aftermath.check()
        except AssertionError as error:
            fuzz.found.append(f"afterwards: {error}")
    print(
        f"{fuzz.statuses.total():,} answers: {dict(sorted(fuzz.statuses.items()))} (0: none but an end)"
    )
    print("\n\n".join(fuzz.found))
    return not fuzz.found


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10_000)
    good = run(seconds, seed)
    print(f"seed {seed}: {'good' if good else 'FAILED'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
