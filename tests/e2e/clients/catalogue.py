"""The clients, as data: where each one's script lies, how it is started, what it cannot do."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
INSTALLED = HERE.parents[2] / ".clients"  # `make test-clients` puts them there
ADAPTER = HERE / "adapter"


class Client(NamedTuple):
    """`lacks` are the options and calls that it does not have.

    `splits`: it makes several requests of a long list. `waits`: before it asks again, as long as
    the server says. `gives_up`: it does not ask again where the server says that it is no use.
    """

    name: str
    folder: str
    words: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()
    splits: bool = False
    waits: bool = True
    gives_up: bool = True

    @property
    def home(self) -> Path | None:
        """Its own environment; None for what the tests' own environment has."""
        return None if self.folder == "openai" else INSTALLED / self.folder

    @property
    def installed(self) -> bool:
        return self.home is None or (self.home / ".installed").exists()

    def command(self) -> list[str]:
        """What starts it; a Node script is copied to where its packages are found."""
        script = HERE / self.folder / "client.py"
        if script.exists():
            python = self.home / "bin" / "python" if self.home else Path(sys.executable)
            return [str(python), str(script), *self.words]
        assert self.home is not None
        for file in (script.with_suffix(".mjs"), ADAPTER / "adapter.mjs"):
            shutil.copy(file, self.home)
        return ["node", str(self.home / "client.mjs"), *self.words]


PLAIN = frozenset({"models", "encoding_format"})
CLIENTS = (
    Client("openai", "openai"),
    Client("openai-async", "openai", ("async",)),
    Client("openai-node", "openai_node"),
    Client("langchain", "langchain", lacks=PLAIN, splits=True),
    Client("langchain-node", "langchain_node", (), frozenset({"models"}), True, False, False),
    Client("litellm", "litellm", lacks=frozenset({"models"})),
    Client("llama-index", "llama_index", lacks=PLAIN, splits=True, gives_up=False),
    Client("ai-sdk", "ai_sdk", lacks=PLAIN, splits=True, gives_up=False),
    Client("ai-sdk-openai", "ai_sdk", ("openai",), PLAIN, splits=True, gives_up=False),
)
