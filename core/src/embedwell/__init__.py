"""Embedwell: an OpenAI-compatible embeddings server for many models."""

__version__ = "0.1.0"
