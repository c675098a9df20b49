"""Why there is nothing to measure."""

from embedwell.errors import EmbedwellError


class Unmeasurable(EmbedwellError):
    """A server that cannot be asked, or gives anything but embeddings; says which and why."""


def printable(text: str, longest: int = 200) -> str:
    """What a server says, without anything that would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:longest])
