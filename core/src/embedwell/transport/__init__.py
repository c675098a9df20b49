"""Sockets, TLS and connections: from bytes to ASGI, by Hypercorn's protocols."""
