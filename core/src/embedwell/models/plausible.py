"""Whether config.json can be true of these weights; decided from headers, nothing is allocated."""

import re
from typing import Any

from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Manifest
from embedwell.models.documents import below

MAX_COUNT = 4_096
MAX_SIZE = 10_000_000
EXCESS = 20  # times the weights' own size; beyond the real models' differences between kinds
SLACK = 10_000_000  # elements
_COUNT = re.compile(r"(^|_)(layers?|heads?|experts?|groups?|blocks?|stages?)(_|$)")
_SIZE = re.compile(r"(_(size|dim|embeddings|positions|buckets|embd|inner|ctx|rank)|^d_\w+|^dim)$")
_SHARED = {"albert"}  # one layer's weights, run many times


def check(manifest: Manifest, rows: int | None) -> None:
    """Raises InvalidModel; `rows` are the token embedding table's, None where none was found."""
    file = below(manifest.folder, "config.json")
    _check_numbers(manifest.config, file)
    stated = manifest.config.get("vocab_size")
    if rows is not None and isinstance(stated, int) and stated > rows:
        raise InvalidModel(f"{file}: vocab_size is {stated:,}, its weights know {rows:,} tokens")
    longest = manifest.config.get("max_position_embeddings")
    table = manifest.positions
    if table is not None and isinstance(longest, int) and longest > table:
        raise InvalidModel(
            f"{file}: max_position_embeddings is {longest:,}, its weights know {table:,} positions"
        )
    if _described(manifest) > EXCESS * manifest.tensors + SLACK:
        raise InvalidModel(f"{file} describes a model that is many times larger than its weights")


def _described(manifest: Manifest) -> int:
    """Elements of attention and feed-forward layers and of small tables, roughly, and at most."""
    layers = 1 if manifest.model_type in _SHARED else manifest.layers
    layer = manifest.hidden * (4 * manifest.hidden + 2 * manifest.intermediate)
    kinds = manifest.config.get("type_vocab_size")
    tables = manifest.vocabulary + (kinds if isinstance(kinds, int) else 0)
    return layers * layer + tables * manifest.hidden


def _check_numbers(values: dict[str, Any], file: str) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _check_numbers(value, file)
        elif isinstance(value, int) and not isinstance(value, bool):
            _check_number(key, value, file)


def _check_number(key: str, value: int, file: str) -> None:
    most = MAX_COUNT if _COUNT.search(key) else MAX_SIZE if _SIZE.search(key) else None
    if most is not None and not -1 <= value <= most:  # -1 stands for "none" in some
        raise InvalidModel(f"{file}: {key[:100]} must be an integer in 0..{most:,}")
