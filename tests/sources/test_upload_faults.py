"""Clients that stall, leave, come twice or too many; a server that is full or stopping."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import structs

from embedwell import BodyTimeout, Overloaded, RequestFinished, RequestHead
from embedwell.config.schema import Store
from embedwell.interfaces.routes import Request
from embedwell.testing import FakeClock, make_model_folder, make_services
from embedwell_source_upload.config import Config
from embedwell_source_upload.receive import Receiver
from tests.core.models.archives import pack_folder
from tests.sources.upload_driver import FORM, Field, Raw, Site, form, packed, raw, site

ZIP = ["Content-Type: application/zip"]


async def begun(running: Site, count: int = 1) -> None:
    """Returns once so many uploads have a folder to write to."""
    async with asyncio.timeout(10):
        while len(running.staged()) < count:
            await asyncio.sleep(0)


async def finished(running: Site, status: int) -> None:
    async with asyncio.timeout(10):
        while not any(
            isinstance(event, RequestFinished) and event.status == status
            for event in running.server.events
        ):
            await asyncio.sleep(0)


async def half(running: Site, connection: Raw, archive: bytes) -> None:
    await connection.send(archive[: len(archive) // 2])
    await begun(running)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_that_stalls_is_given_up(tmp_path: Path, method: str) -> None:
    archive = packed(tmp_path)
    body = form(Field("file", archive, "m.zip")) if method == "POST" else archive
    headers = [f"Content-Type: {FORM}"] if method == "POST" else ZIP
    async with (
        site(tmp_path, {"max_concurrent": 1}, server={"body_timeout": 0.3}) as running,
        raw(
            running.server.port, method=method, query="?model=m", length=len(body), headers=headers
        ) as connection,
    ):
        await connection.send(body[:-9])
        status, told = await connection.answer()
        assert (status, told["code"], told["detail"]) == (
            408,
            "TIMEOUT",
            "Nothing arrived for 0.3 seconds",
        )
        await running.unharmed()
        assert (await running.put("m", archive)).status_code == 201


async def test_many_that_stall_leave_room_again(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    async with site(tmp_path, server={"body_timeout": 0.5}) as running:

        async def stall(number: int) -> int:
            async with raw(
                running.server.port, method="PUT", query=f"?model=m{number}", length=99, headers=ZIP
            ) as connection:
                await connection.send(b"P")
                return (await connection.answer())[0]

        answers = await asyncio.gather(*[stall(number) for number in range(20)])
        assert (answers.count(408), answers.count(429)) == (4, 16)
        await running.unharmed()
        assert (await running.put("m", archive)).status_code == 201


async def test_many_that_drip_leave_room_again(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    async with site(tmp_path, {"deadline_seconds": 2.0}) as running:

        async def drip(number: int) -> int:
            async with raw(
                running.server.port, method="PUT", query=f"?model=m{number}", length=99, headers=ZIP
            ) as connection:
                answer = asyncio.create_task(connection.answer())
                while not answer.done():
                    with suppress(ConnectionError):
                        await connection.send(b"P")
                    await asyncio.wait([answer], timeout=0.5)
                return (await answer)[0]

        answers = await asyncio.gather(*[drip(number) for number in range(20)])
        assert (answers.count(408), answers.count(429)) == (4, 16)
        await running.unharmed()
        assert (await running.put("m", archive)).status_code == 201


async def test_one_too_many_is_refused_unread(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    async with (
        site(tmp_path, {"max_concurrent": 1}) as running,
        raw(
            running.server.port, method="PUT", query="?model=a", length=len(archive), headers=ZIP
        ) as first,
    ):
        await half(running, first, archive)
        for method, kind in (("PUT", ZIP), ("POST", [f"Content-Type: {FORM}"])):
            async with raw(
                running.server.port, method=method, query="?model=b", length=1_000_000, headers=kind
            ) as second:
                status, told = await second.answer()
            assert (status, told["code"]) == (429, "OVERLOADED")
            assert told["detail"] == "The server takes 1 upload at a time; try again"
        refused = await running.put("b", archive)
        assert refused.headers["retry-after"] == "10"
        await first.send(archive[len(archive) // 2 :])
        assert (await first.answer())[0] == 201
        assert (await running.put("b", archive)).status_code == 201


async def test_two_uploads_of_one_name(tmp_path: Path) -> None:
    one, other = packed(tmp_path, "tar"), packed(tmp_path, "zip", hidden=16)
    async with site(tmp_path) as running:
        alone = (await running.put("alone", one)).json()["revision"]
        async with raw(
            running.server.port, method="PUT", query="?model=m", length=len(one), headers=ZIP
        ) as first:
            await half(running, first, one)
            for second in (
                await running.put("m", other),
                await running.put("M", other),
                await running.client.post(
                    "/models/upload", data={"model": "m"}, files={"file": ("m.zip", other)}
                ),
                await running.client.delete("/models/m"),
            ):
                assert (second.status_code, second.json()["code"]) in [
                    (409, "CONFLICT"),
                    (404, "NOT_FOUND"),
                ]
            await first.send(one[len(one) // 2 :])
            status, told = await first.answer()
        assert (status, told["revision"]) == (201, alone)
        assert (await running.put("m", other)).json()["replaced"] == alone


async def test_uploads_of_one_name_all_at_once(tmp_path: Path) -> None:
    archives = [packed(tmp_path, "zip", hidden=hidden) for hidden in (8, 16, 24, 32)]
    async with site(tmp_path) as running:
        revisions = {
            (await running.put(f"m{i}", archive)).json()["revision"]
            for i, archive in enumerate(archives)
        }
        answers = await asyncio.gather(*[running.put("m", archive) for archive in archives])
        assert {answer.status_code for answer in answers} <= {201, 409}
        won = [answer.json()["revision"] for answer in answers if answer.status_code == 201]
        row = (await running.client.get("/models/m")).json()
        assert row["revision"] in won
        assert set(won) <= revisions
        assert (await running.embed("m", "w1")).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_client_that_resets_half_way(tmp_path: Path, method: str) -> None:
    archive = packed(tmp_path)
    body = form(Field("model", b"m"), Field("file", archive, "m.zip"))
    body = body if method == "POST" else archive
    headers = [f"Content-Type: {FORM}"] if method == "POST" else ZIP
    query = "" if method == "POST" else "?model=m"
    async with site(tmp_path, {"max_concurrent": 1}) as running:
        async with raw(
            running.server.port, method=method, query=query, length=len(body), headers=headers
        ) as connection:
            await half(running, connection, body)
            connection.reset()
            await finished(running, 499)
        await running.unharmed()
        assert (await running.put("m", archive)).status_code == 201


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_server_that_stops_waits_for_no_upload(tmp_path: Path, method: str) -> None:
    archive = packed(tmp_path)
    body = archive if method == "PUT" else form(Field("file", archive, "m.zip"))
    headers = [f"Content-Type: {FORM}"] if method == "POST" else ZIP
    async with (
        site(tmp_path) as running,
        raw(
            running.server.port, method=method, query="?model=m", length=len(body), headers=headers
        ) as connection,
    ):
        await half(running, connection, body)
        running.server.app.begin_drain()
        status, told = await connection.answer()
        assert (status, told["code"]) == (503, "DRAINING")
        assert told["detail"] == "The server stopped before the request was done"
        async with asyncio.timeout(10):
            await running.server.app.drained()
        await running.calm()
        assert list(await running.server.runtime.registry.models()) == []


async def test_no_room_is_said_before_a_byte_is_read(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    async with site(tmp_path, store=Store(max_disk_gb=0.001)) as running:
        for method in ("PUT", "POST"):
            headers = [f"Content-Type: {FORM}"] if method == "POST" else ZIP
            async with raw(
                running.server.port,
                method=method,
                query="?model=m",
                length=5_000_000,
                headers=headers,
            ) as connection:
                status, told = await connection.answer()
            assert (status, told["code"]) == (507, "INSUFFICIENT_STORAGE")
            assert str(running.data) not in told["detail"]
        await running.unharmed()
        assert (await running.put("m", archive)).status_code == 201


async def test_a_name_that_is_being_uploaded_is_not_deleted(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    async with site(tmp_path) as running:
        assert (await running.put("m", archive)).status_code == 201
        async with raw(
            running.server.port, method="PUT", query="?model=m", length=len(archive), headers=ZIP
        ) as connection:
            await half(running, connection, archive)
            refused = await running.client.delete("/models/m")
            assert (refused.status_code, refused.json()["detail"]) == (
                409,
                "A model is just being published as m; retry later",
            )
            assert await running.names() == ["m"]
            await connection.send(archive[len(archive) // 2 :])
            assert (await connection.answer())[0] == 201
        assert (await running.client.delete("/models/m")).status_code == 200
        assert await running.names() == []


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_length_that_is_only_said_costs_no_revision(tmp_path: Path, method: str) -> None:
    headers = [f"Content-Type: {FORM}"] if method == "POST" else ZIP
    body = form(Field("file", b"PK", "m.zip")) if method == "POST" else b"PK"
    async with site(tmp_path, store=Store(max_disk_gb=0.01)) as running:
        for spaces in (2_000_000, 2_000_001):
            model = make_model_folder(tmp_path / str(spaces))
            with (model / "tokenizer.json").open("a") as file:
                file.write(" " * spaces)
            archive = pack_folder(tmp_path / "packed.tar", "tar", model).read_bytes()
            assert (await running.put("kept", archive)).status_code == 201
        kept = {*(running.data / "models").iterdir()}
        assert len(kept) == 2
        async with raw(
            running.server.port, method=method, query="?model=m", length=7_500_000, headers=headers
        ) as connection:
            await connection.send(body[:-2])
            await begun(running)
            await connection.send(body[-2:])
            connection.reset()
            await running.calm()
        assert (await running.put("n", b"PK")).status_code == 422  # whatever was to go has gone
        assert {*(running.data / "models").iterdir()} == kept


async def test_a_clients_own_deadline_counts(tmp_path: Path) -> None:
    async with (
        site(tmp_path) as running,
        raw(
            running.server.port, method="PUT", query="?model=m", length=99,
            headers=[*ZIP, "x-request-timeout: 0.2"],
        ) as connection,
    ):  # fmt: skip
        status, told = await connection.answer()
        assert (status, told["code"]) == (504, "TIMEOUT")
        await running.unharmed()


def asked(body: AsyncIterator[bytes]) -> Request:
    head = RequestHead("PUT", "/models/upload", {}, "", "manage")
    return Request(
        head=head, args={}, query={"model": "m"}, body=body, request_id="r", timeout=60.0
    )


async def test_slow_and_late_ones_free_their_slot(tmp_path: Path) -> None:
    clock = FakeClock()
    services = structs.replace(make_services(tmp_path), clock=clock)
    receiver = Receiver(Config(max_concurrent=1, deadline_seconds=100), services.store, clock)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            clock.now += 10
            with pytest.raises(Overloaded):
                await receiver.archive(asked(drip()))
            yield b"PK\x03\x04"

    async def late() -> AsyncIterator[bytes]:
        while True:
            clock.now += 29
            yield bytes(10_000_000)

    with pytest.raises(BodyTimeout, match="The upload is too slow"):
        await receiver.archive(asked(drip()))
    with pytest.raises(BodyTimeout, match="did not arrive within 100 seconds"):
        await receiver.archive(asked(late()))
    assert await services.store.models("upload") == []
    assert list((tmp_path / "store" / "staging").iterdir()) == []


async def test_a_tokenizer_that_gives_up_fails_its_own_requests(tmp_path: Path) -> None:
    """Its regular expression backtracks for ever on a text that does not match it."""
    folder = make_model_folder(tmp_path / "odd")
    path = folder / "tokenizer.json"
    given = json.loads(path.read_text())
    pattern = {"Regex": "(?:a|aa)+$"}
    given["pre_tokenizer"] = {
        "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    path.write_text(json.dumps(given))
    archive = pack_folder(tmp_path / "odd.zip", "zip", folder).read_bytes()
    async with site(tmp_path) as running:
        assert (await running.put("odd", archive)).status_code == 201
        assert (await running.put("good", packed(tmp_path))).status_code == 201
        failed = await running.embed("odd", "w1", "a" * 100 + "b")
        assert (failed.status_code, failed.json()["code"]) == (500, "MODEL_ERROR")
        for model in ("odd", "good"):
            assert (await running.embed(model, "w1")).status_code == 200
