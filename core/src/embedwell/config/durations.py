"""Durations as people write them."""

UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds(text: str) -> float | None:
    """Seconds of "90", "90s", "10m", "12h", "7d"; None for "forever"."""
    if text == "forever":
        return None
    unit = UNITS.get(text[-1])
    return float(text[:-1]) * unit if unit else float(text)
