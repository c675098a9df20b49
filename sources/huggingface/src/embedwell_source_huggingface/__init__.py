"""Embedwell source: the Hugging Face Hub and its local cache."""

__version__ = "0.1.0"
