"""The guard by itself, on a clock that the test moves."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from embedwell import (
    Caller,
    Embedded,
    Forbidden,
    RateLimited,
    RequestHead,
    Unauthorized,
)
from embedwell.config.schema import Config as ServerConfig
from embedwell.loader.load import load
from embedwell.testing import FakeClock
from embedwell_plugin_auth.auth import Auth
from tests.plugins.auth.some_keys import ADMIN, USER, WRONG, bearer, table, tables


def auth(clock: FakeClock | None = None, **keys: dict[str, Any]) -> Auth:
    given = keys or {"user": table(USER), "admin": table(ADMIN, "manage", "metrics")}
    (item,) = [
        i for i in load(ServerConfig(plugins=tables(**given))).plugins if i.spec.name == "auth"
    ]
    services: Any = SimpleNamespace(clock=clock or FakeClock())
    return Auth(item.config, services)


def head(key: str = "", access: str = "embed", method: str = "POST") -> RequestHead:
    headers = {n.encode(): v.encode() for n, v in bearer(key).items()} if key else {}
    return RequestHead(method, "/x", headers, "10.0.0.1", access)


def embedded(caller: str | None, tokens: int, outcome: str = "ok") -> Embedded:
    return Embedded(
        at=0, request_id="r", model="m", known=True, outcome=outcome, inputs=1, tokens=tokens,
        truncated=0, tokenize_seconds=0, queue_seconds=0, inference_seconds=0, seconds=0,
        caller=caller,
    )  # fmt: skip


async def test_it_guards_and_names_the_caller() -> None:
    guard = auth()
    assert guard.guards
    assert await guard.guard(head(USER)) == Caller("user", frozenset({"embed"}))
    admin = Caller("admin", frozenset({"manage", "metrics"}))
    assert await guard.guard(head(ADMIN, "manage")) == admin
    assert await guard.guard(head(ADMIN, "metrics")) == admin
    for key in ("", USER, WRONG):
        assert await guard.guard(head(key, "public")) is None


@pytest.mark.parametrize(
    ("key", "access", "scope"),
    [(USER, "manage", "manage"), (USER, "metrics", "metrics"), (ADMIN, "embed", "embed")],
)
async def test_a_scope_that_is_missing_is_named(key: str, access: str, scope: str) -> None:
    with pytest.raises(Forbidden) as caught:
        await auth().guard(head(key, access))
    assert f' lacks the scope "{scope}": add it to scopes of ' in caught.value.message


async def test_strangers_are_counted_and_told_of_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    guard = auth(clock)
    async with guard.lifespan():
        for second in range(150):
            clock.now = 1_000.0 + second
            for key in ("", WRONG):
                with pytest.raises(Unauthorized):
                    await guard.guard(head(key))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    counts = [int(line.partition(": ")[2].partition(",")[0]) for line in warnings]
    assert counts[:3] == [1, 120, 120]
    assert sum(counts) == guard.strangers.total == 300
    assert len(counts) == 4, "the last at the end"
    assert all("the last from '10.0.0.1'" in line for line in warnings)
    assert WRONG not in caplog.text


async def test_who_starts_is_told_whose_keys_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with auth().lifespan():
            pass
    (record,) = caplog.records
    assert record.getMessage() == "keys are asked for: user (embed); admin (manage, metrics)"


async def test_tokens_are_charged_to_whom_they_belong() -> None:
    clock = FakeClock()
    limits = {"tokens_per_minute": 60}
    guard = auth(clock, user=table(USER, **limits), other=table(ADMIN, **limits))
    for event in (
        embedded("other", 1_000),
        embedded("nobody", 1_000),
        embedded(None, 1_000),
        embedded("user", 1_000, "OVERLOADED"),
    ):
        guard.observe(event)
    await guard.guard(head(USER))
    guard.observe(embedded("user", 50, "cancelled"))
    await guard.guard(head(USER))
    guard.observe(embedded("user", 20))
    with pytest.raises(RateLimited) as caught:
        await guard.guard(head(USER))
    assert caught.value.retry_after == pytest.approx(11)
    await guard.guard(head(USER, method="GET"))
    clock.now += 11.001
    await guard.guard(head(USER))


async def test_a_request_without_the_scope_costs_nothing() -> None:
    guard = auth(user=table(USER, requests_per_minute=1))
    for _ in range(3):
        with pytest.raises(Forbidden):
            await guard.guard(head(USER, "manage"))
    await guard.guard(head(USER))
    with pytest.raises(RateLimited):
        await guard.guard(head(USER))


async def test_two_keys_at_once_as_when_one_is_changed() -> None:
    guard = auth(old=table(USER), new=table(ADMIN))
    callers = [await guard.guard(head(key)) for key in (USER, ADMIN)]
    assert [caller and caller.id for caller in callers] == ["old", "new"]
