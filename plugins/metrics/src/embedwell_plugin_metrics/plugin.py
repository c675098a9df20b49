"""Registers the plugin `metrics`."""

from collections.abc import Sequence
from typing import Any

from embedwell import PluginSpec, hookimpl
from embedwell_plugin_metrics.config import Config
from embedwell_plugin_metrics.metrics import Metrics


@hookimpl
def register_plugins() -> Sequence[PluginSpec[Any]]:
    """`GET /metrics`."""
    return [
        PluginSpec(
            name="metrics",
            summary="GET /metrics for Prometheus",
            config=Config,
            build=Metrics,
        )
    ]
