"""What the client of `embedwell bench` itself spends on a request: at most 0.1 core-ms is allowed.

    python -m tests.benchmarks.client_cost

The server, in a process of its own, answers every request with the same bytes at once: 384
dimensions in base64.
"""

import asyncio
import socket
import subprocess
import sys

import msgspec

from embedwell.bench.results import Report
from tests.core.bench.loopback import answer, embeddings

LISTING = answer(200, b'{"data": [{"id": "none"}]}')
ANSWER = answer(
    200,
    embeddings({"input": "", "model": "none", "encoding_format": "base64"}, (1.0,) + (0.0,) * 383),
)
LEVELS = "1,32"


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(LISTING if data.startswith(b"GET") else ANSWER)


async def serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
    await server.serve_forever()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port, end = listener.getsockname()[1], listener.fileno()
    words = [sys.executable, "-m", "tests.benchmarks.client_cost", str(end)]
    server = subprocess.Popen(words, pass_fds=[end])
    try:
        command = ["embedwell", "bench", f"http://127.0.0.1:{port}", "--concurrency", LEVELS]
        done = subprocess.run(
            [sys.executable, "-m", *command, "--json", "-"], stdout=subprocess.PIPE, check=True
        )
    finally:
        server.terminate()
        server.wait()
    report = msgspec.json.decode(done.stdout, type=Report)
    for level in report.servers[0].levels:
        print(
            f"{level.concurrency} connections, {report.loop}: {level.figures.client_cpu_ms:.4f} "
            f"core-ms a request, {level.figures.requests_per_second:,.0f} requests/s"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(socket.socket(fileno=int(sys.argv[1]))))
    else:
        main()
