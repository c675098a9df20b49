"""modules.json and what it names: which transformer, and what follows it."""

import re
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from msgspec import Struct

from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Normalize, Pool, Pooling
from embedwell.models.documents import below, document, flag, table, whole

Module: TypeAlias = Pooling | Dense | Normalize
Activation: TypeAlias = Literal["identity", "tanh", "relu", "gelu", "sigmoid"]

MAX_MODULES = 16
MAX_DIMENSIONS = 1_000_000
KINDS = ("Transformer", "Pooling", "Dense", "Normalize")
POOLS = get_args(Pool)
# In the order in which sentence-transformers concatenates them.
OLD_POOLS: dict[str, Pool] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS: dict[str, Activation] = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
}
_FOLDER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*)?")


class Named(Struct, frozen=True):
    """One row of modules.json, checked; `folder` lies inside the snapshot."""

    kind: str
    folder: str


def listed(root: Path) -> tuple[Named, ...]:
    """The rows of modules.json, a transformer first; () without the file."""
    rows = document(root, "modules.json")
    if rows is None:
        return ()
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_MODULES:
        raise InvalidModel(f"modules.json must hold a list of 1 to {MAX_MODULES} modules")
    named = tuple(_named(root, row) for row in rows)
    kinds = [module.kind for module in named]
    if kinds[:2] != ["Transformer", "Pooling"] or len({*kinds[:2]} & {*kinds[2:]}):
        raise InvalidModel(
            f"modules.json: expected one Transformer, then one Pooling, then Dense and Normalize; "
            f"it has {', '.join(kinds)}"
        )
    return named


def build(root: Path, named: tuple[Named, ...], hidden: int) -> tuple[tuple[Module, ...], int]:
    """What follows the transformer, and the dimensions of its rows; `named` as of `listed`."""
    width = hidden
    modules: list[Module] = []
    for row in named[1:]:
        module, width = _module(root, row, width)
        modules.append(module)
    return tuple(modules), width


def _named(root: Path, row: Any) -> Named:
    if not isinstance(row, dict) or not isinstance(row.get("type"), str):
        raise InvalidModel("modules.json: every module needs a type")
    dotted, folder = row["type"], row.get("path", "")
    kind = dotted.rpartition(".")[2]
    if not dotted.startswith("sentence_transformers.") or kind not in KINDS:
        raise InvalidModel(
            f"modules.json: modules of the type {dotted[:150]} are not supported, "
            f"only {', '.join(KINDS)} of sentence_transformers"
        )
    if not isinstance(folder, str) or not _inside(root, folder):
        raise InvalidModel(f"modules.json: the path of {kind} must be a folder inside the model")
    return Named(kind, folder)


def _inside(root: Path, folder: str) -> bool:
    if len(folder) > 500 or not _FOLDER.fullmatch(folder):
        return False
    return (root / folder).resolve().is_relative_to(root.resolve())


def _module(root: Path, row: Named, width: int) -> tuple[Module, int]:
    if row.kind == "Pooling":
        pooling = _pooling(root, row.folder, width)
        return pooling, width * len(pooling.modes)
    if row.kind == "Dense":
        dense = _dense(root, row.folder, width)
        return dense, dense.outputs
    file = below(row.folder, "config.json")
    _check_names(table(root, file) or {}, file)
    return Normalize(), width


def _pooling(root: Path, folder: str, hidden: int) -> Pooling:
    file = below(folder, "config.json")
    config = _required(root, file)
    sizes = ("embedding_dimension", "word_embedding_dimension")
    width = whole(config, sizes, file, most=MAX_DIMENSIONS)
    if width != hidden:
        raise InvalidModel(f"{file}: it pools {width} dimensions, the transformer has {hidden}")
    return Pooling(_modes(config, file), flag(config, "include_prompt", file, default=True))


def _modes(config: dict[str, Any], file: str) -> tuple[Pool, ...]:
    given = config.get("pooling_mode")
    if given is None:
        chosen = [m for key, m in OLD_POOLS.items() if flag(config, key, file, default=False)]
        return tuple(chosen) or ("mean",)
    modes = [given] if isinstance(given, str) else given
    if not isinstance(modes, list) or not 1 <= len(modes) <= len(POOLS):
        raise InvalidModel(f"{file}: pooling_mode must be a name or a list of names")
    unknown = [mode for mode in modes if mode not in POOLS]
    if unknown:
        raise InvalidModel(
            f"{file}: pooling mode {str(unknown[0])[:100]} is not supported, "
            f"only {', '.join(POOLS)}"
        )
    return tuple(modes)


def _dense(root: Path, folder: str, width: int) -> Dense:
    file = below(folder, "config.json")
    config = _required(root, file)
    inputs = whole(config, ("in_features",), file, most=MAX_DIMENSIONS)
    outputs = whole(config, ("out_features",), file, most=MAX_DIMENSIONS)
    if inputs != width:
        raise InvalidModel(f"{file}: it takes {inputs} dimensions, what comes before gives {width}")
    _check_names(config, file)
    if flag(config, "use_residual", file, default=False):
        raise InvalidModel(f"{file}: a Dense module with use_residual is not supported")
    bias = flag(config, "bias", file, default=True)
    return Dense(folder, inputs, outputs, bias, _activation(config, file))


def _activation(config: dict[str, Any], file: str) -> Activation:
    dotted = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if dotted is None:
        return "identity"
    name = str(dotted)
    found = ACTIVATIONS.get(name.rpartition(".")[2]) if name.startswith("torch.nn.") else None
    if found is None:
        raise InvalidModel(
            f"{file}: activation function {name[:100]} is not supported, "
            f"only {', '.join(ACTIVATIONS)} of torch.nn"
        )
    return found


def _check_names(config: dict[str, Any], file: str) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise InvalidModel(f"{file}: {key} other than sentence_embedding is not supported")


def _required(root: Path, file: str) -> dict[str, Any]:
    config = table(root, file)
    if config is None:
        raise InvalidModel(f"{file} is missing")
    return config
