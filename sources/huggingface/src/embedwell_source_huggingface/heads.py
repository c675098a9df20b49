"""Which commits the Hub named last for branches and tags, until that is written down."""

from collections.abc import Sequence

from embedwell_source_huggingface.cache import COMMIT

REMEMBERED = 10_000


class Heads:
    """One download serves all who ask for its commit, by whatever name; loop only."""

    def __init__(self) -> None:
        self._commits: dict[tuple[str, str], str] = {}

    def note(self, repo: str, revision: str, commit: str) -> None:
        """The Hub just said so; a commit needs no name."""
        self._commits.pop((repo, revision), None)
        if COMMIT.fullmatch(revision):
            return
        if len(self._commits) >= REMEMBERED:
            del self._commits[next(iter(self._commits))]
        self._commits[repo, revision] = commit

    def take(self, repo: str, commit: str) -> Sequence[str]:
        """The names of this commit, which are not noted any more."""
        found = [key for key, at in self._commits.items() if key[0] == repo and at == commit]
        for key in found:
            del self._commits[key]
        return [revision for _, revision in found]
