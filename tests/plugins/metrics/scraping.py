"""A page of metrics, taken apart by the Prometheus client's own parser."""

from collections.abc import Mapping

import httpx
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class Page:
    """`families` by name, as they are on the page: `_total` belongs to a counter's samples."""

    def __init__(self, text: str) -> None:
        parsed = [*text_string_to_metric_families(text)]
        self.families: Mapping[str, Metric] = {family.name: family for family in parsed}
        assert len(self.families) == len(parsed), "a family twice"

    @property
    def samples(self) -> list[Sample]:
        return [sample for family in self.families.values() for sample in family.samples]

    @property
    def names(self) -> set[str]:
        """Every series' name that there may be, also of families without a series yet."""
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        return {
            family.name + suffix
            for family in self.families.values()
            for suffix in suffixes.get(family.type, ("",))
        }

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}


async def scrape(http: httpx.AsyncClient) -> Page:
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Page(answer.text)
