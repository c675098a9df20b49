"""Events of models, as the page shows them."""

from prometheus_client import CollectorRegistry

from embedwell import ModelEvicted, ModelLoaded
from embedwell_plugin_metrics.models import Models
from embedwell_plugin_metrics.names import Names

RATIO = "embedwell_model_memory_estimate_ratio"


def loaded(revision: str) -> ModelLoaded:
    return ModelLoaded(
        at=0.0, model="m", key=f"upload:m@{revision}", seconds=1.0, estimated=10, measured=20,
        weights=5,
    )  # fmt: skip


def evicted(revision: str) -> ModelEvicted:
    key = f"upload:m@{revision}"
    return ModelEvicted(at=0.0, model="m", key=key, bytes=5, cause="replaced", reason="replaced")


def test_a_model_replaced_keeps_the_ratio_of_the_one_that_stays() -> None:
    registry = CollectorRegistry()
    models = Models(registry, Names(10))
    models.loaded(loaded("a"))
    models.loaded(loaded("b"))
    models.evicted(evicted("a"))
    assert registry.get_sample_value(RATIO, {"model": "m"}) == 2
    models.evicted(evicted("b"))
    assert registry.get_sample_value(RATIO, {"model": "m"}) is None
