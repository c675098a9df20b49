"""The engine on a processor."""
