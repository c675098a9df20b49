"""Which files of a repository are a model's: by name, and nothing that could be code."""

import re
from collections.abc import Iterable, Sequence

from embedwell import InvalidModel
from embedwell_source_github.api import Asset

WEIGHTS = ".safetensors"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_FOLDER = r"(?P<folder>(?:[0-9]{1,2}_[A-Za-z0-9]{1,50}/)?)"
_JSON = (
    "config|modules|config_sentence_transformers|sentence_[a-z-]{1,30}_config"
    "|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab"
)
_WANTED = re.compile(
    rf"{_FOLDER}(?:(?:{_JSON})\.json|(?:vocab|merges)\.txt|(?P<single>model\.safetensors)"
    r"|(?P<shard>model\.safetensors\.index\.json|model-[0-9]{5}-of-[0-9]{5}\.safetensors))"
)
_OTHER = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf", ".ckpt")
MODULES = ".gitmodules"
BODIES = ("", "0_Transformer/")  # folders that may hold the transformer


class Chooser:
    """Says which files to unpack, and remembers of the others what explains a failure.

    `chosen` is whether it found any. Called in a thread that is waited for.
    """

    def __init__(self) -> None:
        self.chosen = False
        self._other = ""
        self._submodules = False

    def __call__(self, name: str) -> bool:
        """Whether this file, relative to the model, is one of a model's."""
        if wanted(name):
            self.chosen = True
            return True
        self._submodules = self._submodules or name == MODULES
        if name.endswith(_OTHER) and not self._other:
            self._other = name
        return False

    def check(self, names: Iterable[str], shown: str) -> None:
        """Raises InvalidModel, saying what is missing, unless `names` can be a model."""
        known = set(names)
        if not known & {f"{body}config.json" for body in BODIES}:
            raise InvalidModel(
                f"{shown} has no config.json: it is not a transformers model{self.hint}"
            )
        if not has_weights(known):
            raise InvalidModel(f"{shown} {self._why_no_weights}{self.hint}")

    @property
    def _why_no_weights(self) -> str:
        if self._other:
            return (
                f"has no safetensors weights, only {ascii(self._other[:100])[1:-1]}: convert them"
            )
        return f"has no weights ({SINGLE})"

    @property
    def hint(self) -> str:
        """What else may be why something is missing."""
        return " (submodules are not fetched)" if self._submodules else ""


def wanted(name: str) -> bool:
    """Whether a model can need a file of this name."""
    return _WANTED.fullmatch(name) is not None


def superfluous(names: Iterable[str]) -> Sequence[str]:
    """Shards in folders that have the weights as one file too."""
    found = [match for name in names if (match := _WANTED.fullmatch(name))]
    whole = {match["folder"] for match in found if match["single"]}
    return [match[0] for match in found if match["shard"] and match["folder"] in whole]


def has_weights(names: Iterable[str]) -> bool:
    """Whether a transformer's weights are there: whole, or an index of shards."""
    return not {body + name for body in BODIES for name in (SINGLE, INDEX)}.isdisjoint(names)


def loose(assets: Iterable[Asset], present: Iterable[str]) -> Sequence[Asset]:
    """A release's files that complete a model; none where there are no weights among them."""
    there = set(present)
    chosen = [asset for asset in assets if wanted(asset.name) and asset.name not in there]
    return chosen if any(asset.name.endswith(WEIGHTS) for asset in chosen) else []


def archive(assets: Iterable[Asset], shown: str) -> Asset | None:
    """The one archive of a release; raises InvalidModel where there are several."""
    found = [asset for asset in assets if asset.name.endswith(ARCHIVES)]
    if len(found) > 1:
        raise InvalidModel(
            f"The release of {shown} has {len(found)} archives: which one is the model is not "
            "known; upload it instead"
        )
    return found[0] if found else None
