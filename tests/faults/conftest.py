"""One mistreated server for all of these tests; after each one it is looked at."""

from collections.abc import Iterator

import pytest

from tests.faults.aftermath import Aftermath
from tests.faults.target import Target, serving


@pytest.fixture(scope="session")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    with serving(tmp_path_factory.mktemp("target")) as target:
        yield Aftermath(target)


@pytest.fixture
def target(aftermath: Aftermath) -> Iterator[Target]:
    """The server; at the end of the test it must be as it was."""
    yield aftermath.target
    aftermath.check()
