"""Whether a folder may become a model: by allowlist, and before any library loads it."""

from pathlib import Path

from embedwell.errors import InvalidModel
from embedwell.models import (
    allowed,
    checkpoint,
    configuration,
    finite,
    manifest,
    plausible,
    safetensors,
    vocabulary,
)
from embedwell.models.documents import below

MAX_WEIGHT_FILES = checkpoint.MAX_SHARDS + 16  # and those of Dense modules


def validate(path: Path) -> None:
    """Raises InvalidModel with the first reason why a folder may not be served.

    Blocks for as long as it takes to read every file; takes memory for headers and JSON files
    only. What it accepts holds plain files of known kinds, weights in safetensors with nothing
    but numbers, and a tokenizer whose ids the weights know.
    """
    try:
        _validate(path)
    except OSError as error:
        raise InvalidModel(f"Its files cannot be read: {error.strerror}") from error


def _validate(root: Path) -> None:
    names = allowed.files(root)
    _refuse_adapters(names)
    _refuse_nested(names)
    weights = [name for name in names if name.lower().endswith(allowed.WEIGHTS)]
    if len(weights) > MAX_WEIGHT_FILES:
        raise InvalidModel(f"It has more than {MAX_WEIGHT_FILES} weight files")
    found = manifest.read(root)
    sizes = configuration.sizes(found.config, below(found.folder, "config.json"))
    tensors = checkpoint.transformer(root, found.folder)
    rows = checkpoint.vocabulary(tensors, (sizes.hidden, sizes.embedding))
    plausible.check(found, rows)
    vocabulary.check(root, below(found.folder, "tokenizer.json"), found.vocabulary)
    if sum(len(safetensors.read(root, name)) for name in weights) > safetensors.MAX_TENSORS:
        raise InvalidModel(f"It has more than {safetensors.MAX_TENSORS:,} tensors")
    for name in weights:
        finite.check(root, name)


def _refuse_nested(names: list[str]) -> None:
    """A model in a folder of the archive is no model at the top."""
    if {"config.json", "modules.json"} & set(names):
        return
    inside = sorted(
        {n.rpartition("/")[0] for n in names if n.endswith(("/modules.json", "/config.json"))}
    )
    if inside:
        raise InvalidModel(
            f"config.json is missing at the top, but there is one in {inside[0]}: "
            "send that folder's content"
        )


def _refuse_adapters(names: list[str]) -> None:
    if any(name.rpartition("/")[2] == "adapter_config.json" for name in names):
        raise InvalidModel("It is an adapter (PEFT); merge it into its base model first")
