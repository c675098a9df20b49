"""The weight files of a transformer and of its Dense modules: complete, and how large."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense
from embedwell.models import safetensors
from embedwell.models.documents import below, table
from embedwell.models.safetensors import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARDS = 200
PLAIN = {"BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64"}
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
_ELSEWHERE = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
_EMBEDDINGS = (
    "word_embeddings.weight",
    "embed_tokens.weight",
    "tok_embeddings.weight",
    "token_embedding.weight",
    "word_embedding.weight",
    "shared.weight",
    "wte.weight",
)
_POSITIONS = (
    "position_embeddings.weight",
    "position_embedding.weight",
    "embed_positions.weight",
    "wpe.weight",
)


def transformer(root: Path, folder: str) -> dict[str, Tensor]:
    """All tensors of the transformer; raises InvalidModel where a file or shard is missing."""
    if (root / below(folder, SINGLE)).is_file():
        tensors = safetensors.read(root, below(folder, SINGLE))
    else:
        tensors = _sharded(root, folder)
    strange = next((t.dtype for t in tensors.values() if t.dtype not in PLAIN), None)
    if strange:
        raise InvalidModel(
            f"Its weights are quantised ({strange}); only float weights can be served"
        )
    return tensors


def dense(root: Path, module: Dense) -> dict[str, Tensor]:
    """A Dense module's tensors, of the shapes that its config says."""
    file = below(module.folder, module.weights)
    if not (root / file).is_file():
        raise InvalidModel(f"{file} is missing; weights must be in the safetensors format")
    tensors = safetensors.read(root, file)
    expected: dict[str, tuple[int, ...]] = {"linear.weight": (module.outputs, module.inputs)}
    if module.bias:
        expected["linear.bias"] = (module.outputs,)
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise InvalidModel(f"{file} does not hold the weights that its config.json describes")
    return tensors


def vocabulary(tensors: Mapping[str, Tensor], widths: Iterable[int]) -> int | None:
    """Rows of the token embedding table, None where no tensor looks like one."""
    wanted = set(widths)
    rows = [
        tensor.shape[0]
        for name, tensor in tensors.items()
        if name.endswith(_EMBEDDINGS) and len(tensor.shape) == 2 and tensor.shape[1] in wanted
    ]
    return min(rows, default=None)


def positions(tensors: Mapping[str, Tensor]) -> int | None:
    """Rows of the position table, None for a model that computes positions."""
    rows = [
        tensor.shape[0]
        for name, tensor in tensors.items()
        if name.endswith(_POSITIONS) and len(tensor.shape) == 2
    ]
    return min(rows, default=None)


def _sharded(root: Path, folder: str) -> dict[str, Tensor]:
    file = below(folder, INDEX)
    index = table(root, file)
    if index is None:
        raise InvalidModel(_why_none(root / folder))
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InvalidModel(f"{file} must hold a weight_map")
    shards = {name: _shard(root, folder, name) for name in _shard_names(file, places)}
    lost = next((key for key, name in places.items() if key not in shards[name]), None)
    if lost is not None:
        raise InvalidModel(f"{file}: tensor {lost[:100]} is not in the file that it names")
    return {key: tensor for shard in shards.values() for key, tensor in shard.items()}


def _shard_names(file: str, places: dict[str, object]) -> list[str]:
    names = {name for name in places.values() if isinstance(name, str) and _SHARD.fullmatch(name)}
    if not all(isinstance(name, str) and name in names for name in places.values()):
        raise InvalidModel(f"{file}: every shard must be a .safetensors file beside it")
    if len(names) > MAX_SHARDS:
        raise InvalidModel(f"{file} names more than {MAX_SHARDS} shards")
    return sorted(names)


def _shard(root: Path, folder: str, name: str) -> dict[str, Tensor]:
    file = below(folder, name)
    if not (root / file).is_file():
        raise InvalidModel(f"{file} is missing, though the index names it")
    return safetensors.read(root, file)


def _why_none(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if "adapter_config.json" in names:
        return "It is an adapter (PEFT); merge it into its base model first"
    other = next((name for name in names if name.endswith(_ELSEWHERE)), None)
    if other:
        return f"Its weights are in {other[:100]} only; convert them to {SINGLE}"
    return f"{SINGLE} is missing"
