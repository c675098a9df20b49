"""The dashboard, the alerts and the table of the README name what a server exports."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from embedwell.config.schema import Cache
from embedwell.testing import FakeBackend
from tests.e2e.conftest import Start
from tests.plugins.metrics.scraping import Page, scrape

FOLDER = Path(__file__).parents[3] / "plugins" / "metrics"
METRIC = re.compile(r"\b(?:embedwell|process|python)_[a-z0-9_]+\b")
SELECTOR = re.compile(r"\b((?:embedwell|process|python)_[a-z0-9_]+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
OF_THE_SCRAPE = {"instance", "job"}  # labels that Prometheus adds


@pytest.fixture
async def page(tiny: Start) -> Page:
    """Of a server on which something has happened of every kind."""
    cache = Cache(safety_margin_gb=0.1, tables={"fixed_size": {"max_models": 1}})
    backend = FakeBackend()
    async with (
        tiny(backend, models=("a", "b", "c"), cache=cache) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as http,
    ):
        for model in ("a", "b", "nobody"):
            await http.post("/embeddings", json={"model": model, "input": "w1"})
        backend.failures = [RuntimeError("broken")]
        await http.post("/embeddings", json={"model": "c", "input": "w1"})
        await http.post("/embeddings/preload", json={"models": ["a"]})
        return await scrape(http)


def dashboard() -> Any:
    return json.loads((FOLDER / "grafana" / "embedwell.json").read_text())


def alerts() -> Any:
    return yaml.safe_load((FOLDER / "alerts.yml").read_text())


def found(value: Any, key: str) -> Iterator[Any]:
    """All values under this key, however deep."""
    if isinstance(value, dict):
        yield from (v for k, v in value.items() if k == key)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from found(item, key)


def expressions() -> list[str]:
    board = dashboard()
    variables = [item.get("definition", "") for item in board["templating"]["list"]]
    return [*found(board, "expr"), *variables, *found(alerts(), "expr")]


async def test_every_metric_that_is_named_is_exported(page: Page) -> None:
    named = {name for text in expressions() for name in METRIC.findall(text)}
    assert len(named) > 30
    assert named <= page.names, named - page.names


async def test_every_label_that_is_selected_is_there(page: Page) -> None:
    labels: dict[str, set[str]] = {}
    for sample in page.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    checked = 0
    for text in expressions():
        for name, selector in SELECTOR.findall(text):
            wanted = set(LABEL.findall(selector)) - OF_THE_SCRAPE
            if name in labels:
                checked += len(wanted)
                assert wanted <= labels[name], (name, wanted)
    assert checked > 20


def test_the_dashboard_asks_its_variables() -> None:
    board = dashboard()
    names = {item["name"] for item in board["templating"]["list"]}
    assert {"datasource", "model"} <= names
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Latency", "Batching", "Models and memory", "Errors"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert {source["uid"] for source in found(board, "datasource") if "uid" in source} == {"${datasource}"}
    used = {name for text in expressions() for name in re.findall(r"\$(\w+)", text)}
    assert used - {"__rate_interval"} <= names


def test_the_alerts_are_rules_that_say_what_is_wrong() -> None:
    rules = [rule for group in alerts()["groups"] for rule in group["rules"]]
    assert len(rules) >= 6
    for rule in rules:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule)
        assert {"summary", "description"} <= set(rule["annotations"])
        assert rule["expr"].count("(") == rule["expr"].count(")")


async def test_the_readme_explains_all_of_them_and_no_others(page: Page) -> None:
    explained = set(re.findall(r"^\| `(embedwell_\w+)`", (FOLDER / "README.md").read_text(), re.M))
    own = {
        re.sub(r"_(bucket|sum|count)$", "", name) if name not in page.families else name
        for name in page.names
        if name.startswith("embedwell_")
    }
    assert explained == own
