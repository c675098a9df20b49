"""How long a request may take: the server's own limit, which a client can only shorten."""

import re

from embedwell.errors import DeadlineExceeded, Invalid
from embedwell.http.asgi import Scope, values

NAME = "x-request-timeout"
SECONDS = re.compile(rb"\d{1,9}(\.\d{1,30})?")


def limit(scope: Scope, longest: float) -> float:
    """Seconds for the whole request; raises Invalid for a malformed header."""
    given = values(scope, NAME.encode())
    if not given:
        return longest
    if len(given) > 1 or not SECONDS.fullmatch(given[0]) or not float(given[0]):
        raise Invalid(f"Invalid value for {NAME}: expected seconds, such as 2.5", param=NAME)
    return min(longest, float(given[0]))


def left(limit: float, elapsed: float) -> float:
    """Seconds that remain; raises DeadlineExceeded when there are none."""
    if elapsed >= limit:
        raise exceeded(limit)
    return limit - elapsed


def exceeded(limit: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"The request did not finish within {limit:g} seconds")
