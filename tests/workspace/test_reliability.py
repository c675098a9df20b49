"""The table of cases names every case once, and only tests that exist; scripts say what they show."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text()


def test_every_case_has_one_row() -> None:
    assert re.findall(r"^\| (T\d\d) \|", TEXT, re.M) == [f"T{i:02}" for i in range(1, 85)]


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 100
    missing = [f"{path}::{test}" for path, test in named if not _exists(ROOT / path, test)]
    assert missing == []


def _exists(path: Path, test: str) -> bool:
    return path.is_file() and (not test or f"def {test}(" in path.read_text())


def test_every_script_says_what_it_shows() -> None:
    (listed,) = re.findall(r"^FAULTS := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    readme = (ROOT / "tests" / "faults" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)(?: \[[^`]*)?` \| .+ \| \d+ min \|$", readme, re.M)
    assert sorted(rows) == sorted(listed.split())
