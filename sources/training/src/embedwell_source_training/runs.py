"""What of a run can be served now: its final model, its best or its newest checkpoint."""

import logging
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct

from embedwell import SourceError
from embedwell_source_training import folders
from embedwell_source_training.content import Content, read
from embedwell_source_training.settled import Settled
from embedwell_source_training.trainer import States
from embedwell_source_training.whole import Checked, Unfinished

log = logging.getLogger("embedwell.source.training")

REWRITING = 60.0  # seconds since the last change, after which nobody is writing any more
TOLD = 1_000


class Look(Struct, frozen=True):
    """`contents` are complete models, the one to serve first; `busy`: files are being written."""

    contents: tuple[Content, ...] = ()
    busy: bool = False


class Runs:
    """The directory, read anew each time; `wall` is Unix seconds; called in threads."""

    def __init__(self, root: Path, settled: Settled, wall: Callable[[], float]) -> None:
        self._root = root
        self._settled = settled
        self._wall = wall
        self._checked = Checked()
        self._states = States()
        self._told: set[tuple[Path, str]] = set()

    def look(self, tag: str, checkpoint: str | None = None, *, every: bool = False) -> Look:
        """The first that is complete, or every one; raises SourceError where reading fails."""
        try:
            run = folders.find(self._root, tag)
            if run is None:
                return Look()
            if checkpoint is None:
                return self._complete(self._places(run), every)
            place = folders.checkpoint(run, checkpoint)
            return self._complete([place] if place else [], every)
        except FileNotFoundError:  # the directory, or the run just now
            return Look()
        except OSError as error:
            raise SourceError(f"The training run {tag} cannot be read: {error.strerror}") from error

    def every(self) -> Iterator[tuple[str, Content]]:
        """Tag and content of each run that can be served; raises SourceError."""
        try:
            found = list(folders.runs(self._root))
        except FileNotFoundError:
            return
        except OSError as error:
            why = f"The directory of training runs cannot be read: {error.strerror}"
            raise SourceError(why) from error
        for tag, run in found:
            try:
                for content in self._complete(self._places(run), False).contents:
                    yield tag, content
            except FileNotFoundError:
                continue
            except OSError as error:
                self._tell(run, f"it cannot be read: {error.strerror}")

    def _places(self, run: Path) -> list[Path]:
        """Where a run's model may be, the one to prefer first."""
        return [*folders.finals(run), *self._states.best_first(folders.checkpoints(run))]

    def _complete(self, places: list[Path], every: bool) -> Look:
        contents: list[Content] = []
        busy = False
        for place in places:
            try:
                content = read(place, self._checked)
            except Unfinished as why:
                busy = self._being_written(place, str(why)) or busy
                continue
            if not self._settled(content):
                busy = True
                continue
            contents.append(content)
            if not every:
                break
        return Look(tuple(contents), busy)

    def _being_written(self, place: Path, why: str) -> bool:
        """Whether something changed there lately; else the reason is logged, once."""
        with os.scandir(place) as entries:
            some = [*islice(entries, folders.MAX_ENTRIES)]
        times = [entry.stat(follow_symlinks=False).st_ctime for entry in some]
        if times and self._wall() - max(times) < REWRITING:
            return True
        self._tell(place, why)
        return False

    def _tell(self, place: Path, why: str) -> None:
        if (place, why) not in self._told and len(self._told) < TOLD:
            self._told.add((place, why))
            log.warning("no model is served from %s: %s", place.relative_to(self._root), why)
