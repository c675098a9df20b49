"""Label values from names that others choose: a bounded number of them."""

from collections.abc import Callable
from typing import Generic, TypeVar

OTHER = "other"
T = TypeVar("T")


class Names:
    """The first `most` names are themselves, every later one is "other"."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """What stands for this name from now on."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


class ByName(Generic[T]):
    """What `make` gives for a name's label, made once and found by one look."""

    def __init__(self, names: Names, make: Callable[[str], T]) -> None:
        self._names = names
        self._make = make
        self._made: dict[str, T] = {}

    def of(self, name: str) -> T:
        found = self._made.get(name)
        return found if found is not None else self._of_label(self._names.label(name))

    def _of_label(self, label: str) -> T:
        if label not in self._made:
            self._made[label] = self._make(label)
        return self._made[label]
