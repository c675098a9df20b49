"""Embedwell plugin: what the server does, for Prometheus."""

__version__ = "0.1.0"
