"""ASGI layers around the routes, outermost first in `stack.py`."""
