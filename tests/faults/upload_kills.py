"""Kill a server at random points of an upload and of a replacement, and start it again.

    python -m tests.faults.upload_kills [rounds] [seed]

After each restart the model is wholly old, new or absent, another model is as it was, staging is
empty, and the server was ready within ten seconds. Prints a line a round; exits non-zero on a fault.
"""

import asyncio
import hashlib
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.faults.upload_server import Model, Running, model, running, send, staged

SIZE = 30_000_000
READY = 10.0  # seconds
NAME, OTHER = "target", "bystander"


def whole(folder: Path, revision: str) -> bool:
    """Whether the files of a revision are those that its name stands for."""
    place = folder / "data" / "models" / revision
    total = hashlib.sha256()
    for path in sorted((p for p in (place / "files").rglob("*") if p.is_file()), key=str):
        name = path.relative_to(place / "files").as_posix()
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest() == revision


async def killed(server: Running, what: Model, after: float) -> str:
    """Upload, and kill the server meanwhile; how far it came."""
    sending = asyncio.create_task(send(server, NAME, what))
    await asyncio.wait([sending], timeout=after)
    server.process.send_signal(signal.SIGKILL)
    await server.process.wait()
    try:
        return f"answered {(await sending).status_code}"
    except httpx.TransportError:
        return "cut off"


def version_of(number: int) -> Model:
    return model(SIZE, f"w{number} ")


class Trial:
    """One data directory through all rounds."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.versions = {version.digest(): version for version in map(version_of, range(2))}
        self.current: str | None = None
        self.golden: list[float] = []
        self.other = ""
        self.longest = 0.0
        self.outcomes: Counter[str] = Counter()

    async def prepare(self) -> None:
        async with running(self.folder) as server:
            began = time.monotonic()
            await self._publish(server)
            self.longest = time.monotonic() - began
            self.golden = await server.vector()
            bystander = model(1_000_000)
            (await send(server, OTHER, bystander)).raise_for_status()
            self.other = bystander.digest()
        print(f"an upload of {SIZE / 1e6:.0f} MB takes {self.longest:.1f} s")

    async def round(self, server: Running, replacing: bool) -> tuple[str, str]:
        """Kill it in the midst of an upload; what was sent, and how far it came."""
        if self.current and not replacing:
            (await server.client.delete(f"/models/{NAME}")).raise_for_status()
            self.current = None
        if not self.current and replacing:
            await self._publish(server)
        new = next(digest for digest in self.versions if digest != self.current)
        point = self.dice.uniform(0, 1.2 * self.longest)
        how = await killed(server, self.versions[new], point)
        return new, f"{point:4.2f} s: {how}"

    async def _publish(self, server: Running) -> None:
        self.current, version = next(iter(self.versions.items()))
        (await send(server, NAME, version)).raise_for_status()

    async def look(self, server: Running, new: str, how: str) -> bool:
        """Whether all is as it must be after the restart."""
        now = await server.revision(NAME)
        listed = (await server.client.get("/models")).json()["data"]
        rows = [row for row in listed if row["id"] == NAME]
        legal = now in (self.current, new) and len(rows) == (now is not None)
        legal &= now == new or "201" not in how  # what was acknowledged stays
        sound = now is None or await asyncio.to_thread(whole, self.folder, now)
        others = await server.vector() == self.golden and await server.revision(OTHER) == self.other
        clean = not staged(self.folder)
        quick = server.seconds < READY
        outcome = "absent" if now is None else "new" if now == new else "old"
        self.outcomes[outcome] += 1
        self.current = now
        facts = {"whole": legal and sound, "others": others, "clean": clean, "quick": quick}
        print(f"killed at {how}; then {outcome}, ready in {server.seconds:.1f} s", facts)
        return all(facts.values())


async def run(rounds: int, seed: int) -> int:
    good, before = list[bool](), None
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(Path(place), seed)
        await trial.prepare()
        for replacing in [False] * rounds + [True] * rounds:
            async with running(trial.folder) as server:
                good += [await trial.look(server, *before)] if before else []
                before = await trial.round(server, replacing)
        async with running(trial.folder) as server:
            good += [await trial.look(server, *before)] if before else []
    print(json.dumps(trial.outcomes), f"{sum(good)} of {len(good)} rounds without a fault")
    return 0 if good and all(good) else 1


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    sys.exit(asyncio.run(run(rounds, seed)))


if __name__ == "__main__":
    main()
