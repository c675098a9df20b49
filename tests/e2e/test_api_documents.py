"""What the OpenAPI documents say is so: requests that schemathesis makes of them."""

from pathlib import Path

from tests.e2e.fuzz_api import both

EXAMPLES = 10  # of each kind; `make fuzz-api` takes more


async def test_answers_are_as_the_documents_say(tmp_path: Path) -> None:
    for code, told in await both(tmp_path, EXAMPLES):
        assert code == 0, told
