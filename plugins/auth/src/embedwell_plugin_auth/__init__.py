"""Embedwell plugin: API keys with scopes and quotas."""

__version__ = "0.1.0"
