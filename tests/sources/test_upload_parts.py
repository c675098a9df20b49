"""The parser, the pace, the sink and the slots, each by itself."""

import asyncio
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell import BadRequest, BodyTimeout, Overloaded, PayloadTooLarge, UnsupportedMediaType
from embedwell.testing import FakeClock
from embedwell_source_upload.files import is_archive
from embedwell_source_upload.form import MAX_PARTS, Data, End, Form, Part
from embedwell_source_upload.pace import WINDOW, Pace, Paced
from embedwell_source_upload.sink import SIZE, Sink
from embedwell_source_upload.slots import Slots
from tests.core.models.archives import KINDS
from tests.sources.upload_driver import BOUNDARY, FORM, Field, form, packed

ONE = form(Field("file", b"abc", "a"))
Parts = list[tuple[str, str | None, bytes]]


def parsed(chunks: Sequence[bytes]) -> Parts:
    reader = Form(FORM)
    found: Parts = []
    for event in (event for chunk in chunks for event in reader.feed(chunk)):
        match event:
            case Part(name, filename):
                found.append((name, filename, b""))
            case Data(data):
                name, filename, before = found.pop()
                found.append((name, filename, before + data))
            case End():
                pass
    reader.close()
    return found


CONTENTS = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"-", b"\r\n", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode(), b"x"]
    ),
    max_size=12,
).map(b"".join)


@given(CONTENTS, CONTENTS, st.data())
def test_it_does_not_matter_how_a_body_is_cut(a: bytes, b: bytes, data: st.DataObject) -> None:
    fields = [Field("model", a), Field("file", b, "1_Pooling/config.json")]
    body = form(*fields)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)))))
    edges = [0, *cuts, len(body)]
    chunks = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert parsed(chunks) == [(f.name, f.filename, f.data) for f in fields]
    assert parsed([bytes([byte]) for byte in body]) == parsed([body])


@given(st.binary(max_size=60) | CONTENTS)
def test_no_bytes_whatever_break_it(garbage: bytes) -> None:
    for body in (garbage, b"--" + BOUNDARY.encode() + b"\r\n" + garbage):
        with pytest.raises((BadRequest, PayloadTooLarge)):
            parsed([body])


@pytest.mark.parametrize("size", range(len(ONE) - 2))
def test_a_body_that_was_cut_off_is_never_complete(size: int) -> None:
    with pytest.raises(BadRequest, match="ends before its final boundary"):
        parsed([ONE[:size]])


def test_the_last_line_break_may_be_missing() -> None:
    assert parsed([ONE[:-2]]) == parsed([ONE]) == [("file", "a", b"abc")]


def test_what_follows_the_final_boundary_is_dropped() -> None:
    assert parsed([form(Field("a", b"1"), end=b"--\r\n" + b"x" * 100_000)]) == [("a", None, b"1")]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"X: y\r\n\r\n", "A part of the form has no name"),
        (b"Content-Disposition: form-data\r\n\r\n", "A part of the form has no name"),
        (b'Content-Disposition: attachment; name="a"\r\n\r\n', "A part of the form has no name"),
        (b'Content-Disposition: form-data; name="\xff"\r\n\r\n', "not valid UTF-8"),
        (b"a: " + b"b" * 5_000 + b"\r\n\r\n", "The multipart body is malformed"),
        (b"a: b\r\n" * 20 + b"\r\n", "The multipart body is malformed"),
        (b"no colon\r\n\r\n", "The multipart body is malformed"),
    ],
)
def test_bad_parts_are_refused(head: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parsed([b"--" + BOUNDARY.encode() + b"\r\n" + head + b"x\r\n"])


def test_parts_are_counted() -> None:
    assert len(parsed([form(*[Field("file", b"", "a")] * MAX_PARTS)])) == MAX_PARTS
    with pytest.raises(PayloadTooLarge, match="The form has more than 1,001 parts"):
        parsed([form(*[Field("file", b"", "a")] * 1_500)])


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("", UnsupportedMediaType, "must be multipart/form-data; an archive as the body"),
        ("application/json", UnsupportedMediaType, "must be multipart/form-data"),
        ("multipart/mixed; boundary=x", UnsupportedMediaType, "must be multipart/form-data"),
        ("multipart/form-data", BadRequest, "The Content-Type has no boundary"),
        ('multipart/form-data; boundary=""', BadRequest, "The Content-Type has no boundary"),
        (f"multipart/form-data; boundary={'x' * 300}", BadRequest, "boundary .* is too long"),
    ],
)
def test_the_content_type_is_checked(kind: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Form(kind)


def test_a_large_part_is_never_held() -> None:
    reader = Form(FORM)
    reader.feed(form(Field("file", b"", "a"))[:-16])
    chunk = (b"\r\n--front" * 8_000)[:65_536]
    tracemalloc.start()
    total = 0
    for _ in range(50):
        total += sum(len(event.data) for event in reader.feed(chunk) if isinstance(event, Data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 49 * len(chunk)
    assert peak < 4 * len(chunk)


@pytest.mark.parametrize("kind", KINDS)
def test_archives_are_known_by_their_content(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert is_archive(packed(tmp_path_factory.mktemp("a"), kind))


@pytest.mark.parametrize("data", [b"", b"{}", b"PK", bytes(512), b"\x00" * 8 + b"{}" * 400])
def test_other_files_are_no_archives(data: bytes) -> None:
    assert not is_archive(data)


async def test_small_pieces_become_large_writes() -> None:
    written: list[int] = []

    async def write(data: bytes) -> None:
        written.append(len(data))

    sink = Sink(write)
    for _ in range(40):
        await sink.add(bytes(65_536))
    assert written == [SIZE, SIZE]
    await sink.flush()
    await sink.flush()
    assert written == [SIZE, SIZE, 40 * 65_536 - 2 * SIZE]
    empty = Sink(write)
    await empty.flush()
    assert written[-1] == 0


def test_a_slow_client_is_told_how_slow() -> None:
    pace = Pace(64_000)
    pace.add(1, 10_000_000)
    pace.add(WINDOW - 1, 0)  # fast enough on average
    pace.add(WINDOW / 2, 100)
    with pytest.raises(BodyTimeout) as error:
        pace.add(WINDOW / 2, 299_900)
    told = "The upload is too slow: 10.0 kB/s, at least 64 are expected"
    assert error.value.message == told


def test_the_least_rate_is_enough_and_zero_is_none() -> None:
    exact, none = Pace(1_000), Pace(0)
    for _ in range(5):
        exact.add(WINDOW, int(1_000 * WINDOW))
        none.add(WINDOW, 0)


class Body:
    """Chunks that take their time, on a clock of the test's own."""

    def __init__(self, clock: FakeClock, seconds: float, size: int, count: int) -> None:
        self._clock, self._seconds, self._left = clock, seconds, count
        self._size = size

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        self._clock.now += self._seconds
        return bytes(self._size)


async def test_time_that_the_server_takes_is_not_the_clients() -> None:
    clock = FakeClock()
    body = Paced(Body(clock, 1, 64_000, 100), rate=64_000, deadline=10_000, clock=clock)
    count = 0
    async for _ in body:
        clock.now += 60  # a slow disk
        count += 1
    assert count == 100


async def test_a_client_that_drips_is_ended() -> None:
    clock = FakeClock()
    body = Paced(Body(clock, 1, 1, 100), rate=64_000, deadline=10_000, clock=clock)
    with pytest.raises(BodyTimeout, match=r"too slow: 0\.0 kB/s"):
        async for _ in body:
            pass
    assert clock.now == 1000 + WINDOW


async def test_a_body_has_a_deadline() -> None:
    clock = FakeClock()
    body = Paced(Body(clock, 20, 10**7, 100), rate=1, deadline=50, clock=clock)
    with pytest.raises(BodyTimeout, match="The upload did not arrive within 50 seconds"):
        async for _ in body:
            pass
    assert clock.now == 1060


async def test_the_deadline_ends_a_wait() -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.Future[None]()
        yield b""

    body = Paced(never(), rate=0, deadline=0.01, clock=FakeClock())
    with pytest.raises(BodyTimeout, match=r"did not arrive within 0\.01 seconds"):
        await anext(body)


def test_slots_are_given_back_whatever_happens() -> None:
    slots = Slots(1)
    for _ in range(2):
        with suppress(KeyError), slots.one():
            with pytest.raises(Overloaded) as refused, slots.one():
                pytest.fail("there was none")
            assert refused.value.message == "The server takes 1 upload at a time; try again"
            assert refused.value.retry_after == 10
            raise KeyError
    with (
        pytest.raises(Overloaded, match="takes 2 uploads at a time"),
        (two := Slots(2)).one(),
        two.one(),
        two.one(),
    ):
        pytest.fail("there was none")
