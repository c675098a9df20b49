"""Which key a request shows, and whose it is."""

import hmac
from collections.abc import Callable, Collection, Mapping

from embedwell_plugin_auth.digests import digest

HEADERS = (b"api-key", b"x-api-key")  # as clients of Azure send it, and many others


def presented(headers: Mapping[bytes, bytes]) -> Collection[bytes]:
    """The different keys in a request's headers, whatever bytes they are."""
    found = {headers.get(name, b"").strip() for name in HEADERS}
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        found.add(rest.strip())
    return found - {b""}


class KeyRing:
    """Names of keys by their digests.

    What is compared are digests, each in constant time, and always all of them: how long it takes
    says nothing about how near a guess came, nor about which key it was.
    """

    def __init__(
        self,
        digests: Mapping[str, bytes],
        compare: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        self._digests = tuple(digests.items())
        self._compare = compare

    def owner(self, key: bytes) -> str | None:
        """The name of a key, None for one that is nobody's."""
        shown = digest(key)
        found = None
        for name, kept in self._digests:
            if self._compare(kept, shown):
                found = name
        return found
