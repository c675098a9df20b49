"""A snapshot's own files → Manifest, by allowlist and without torch."""

from pathlib import Path
from typing import Any, Literal

from embedwell.errors import InvalidModel
from embedwell.interfaces.models import Dense, Manifest, Pooling
from embedwell.models import checkpoint, configuration, lengths, modules, special
from embedwell.models.configuration import Sizes
from embedwell.models.documents import below, flag, table
from embedwell.models.modules import Module
from embedwell.models.safetensors import Tensor

MAX_PROMPTS = 100
MAX_PROMPT = 20_000
SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


def read(path: Path) -> Manifest:
    """Blocks; raises InvalidModel with the first reason why it cannot be served."""
    try:
        return _read(path)
    except OSError as error:
        raise InvalidModel(f"Its files cannot be read: {error.strerror}") from error


def _read(root: Path) -> Manifest:
    named = modules.listed(root)
    folder = named[0].folder if named else ""
    settings = _settings(root, folder)
    kind, config = configuration.read(root, folder, _overrides(settings))
    sizes = configuration.sizes(config, below(folder, "config.json"))
    following, dimensions = _following(root, named, config, sizes)
    tensors = checkpoint.transformer(root, folder)
    dense = [checkpoint.dense(root, m) for m in following if isinstance(m, Dense)]
    every = [*tensors.values(), *(t for layer in dense for t in layer.values())]
    vocabulary = _vocabulary(tensors, sizes, folder)
    positions = checkpoint.positions(tensors)
    tokenizer = table(root, below(folder, "tokenizer_config.json")) or {}
    roles = table(root, below(folder, "special_tokens_map.json")) or {}
    roles |= {role: value for role, value in tokenizer.items() if value is not None}
    tokens = special.read(root, folder, roles, vocabulary)
    stated = settings.get("max_seq_length") or tokenizer.get("model_max_length")
    prompts, default_prompt = _prompts(root)
    return Manifest(
        folder=folder,
        config=config,
        model_type=kind,
        dimensions=dimensions,
        max_tokens=lengths.longest(stated, kind, config, positions),
        vocabulary=vocabulary,
        positions=positions,
        hidden=sizes.hidden,
        intermediate=sizes.intermediate,
        layers=sizes.layers,
        heads=sizes.heads,
        modules=following,
        prompts=prompts,
        default_prompt=default_prompt,
        lowercase=flag(
            settings, "do_lower_case", "its sentence-transformers settings", default=False
        ),
        truncation_side=_truncation_side(tokenizer),
        empty_token=tokens.empty,
        prompt_closers=tokens.closers,
        tensors=sum(tensor.elements for tensor in every),
        bytes=sum(tensor.bytes for tensor in every),
        created=_newest(root, folder),
    )


def _following(
    root: Path, named: tuple[modules.Named, ...], config: dict[str, Any], sizes: Sizes
) -> tuple[tuple[Module, ...], int]:
    if named:
        return modules.build(root, named, sizes.hidden)
    architectures = config.get("architectures")
    first = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    causal = first.endswith("ForCausalLM") and config.get("is_causal", True)
    # What sentence-transformers assumes of a folder that it did not write.
    return (Pooling(("lasttoken" if causal else "mean",)),), sizes.hidden


def _settings(root: Path, folder: str) -> dict[str, Any]:
    for name in SETTINGS:
        found = table(root, below(folder, name))
        if found:
            _refuse_other_tasks(found, name)
            return found
    return {}


def _refuse_other_tasks(settings: dict[str, Any], name: str) -> None:
    plain = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
    for key, value in plain.items():
        if settings.get(key, value) != value:
            raise InvalidModel(f"{name}: {key} other than {value} is not supported")
    modality = settings.get("modality_config")
    text = modality.get("text") if isinstance(modality, dict) else None
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    if modality is not None and text != forward:
        raise InvalidModel(f"{name}: the model does not take plain texts")


def _overrides(settings: dict[str, Any]) -> dict[str, Any]:
    extra = settings.get("config_kwargs") or settings.get("config_args") or {}
    return {k: v for k, v in extra.items() if k != "model_type"} if isinstance(extra, dict) else {}


def _vocabulary(tensors: dict[str, Tensor], sizes: Sizes, folder: str) -> int:
    rows = checkpoint.vocabulary(tensors, (sizes.hidden, sizes.embedding))
    if rows is None and sizes.vocabulary == configuration.MAX_VOCABULARY:
        raise InvalidModel(f"{below(folder, 'config.json')}: vocab_size is missing")
    return min(rows or sizes.vocabulary, sizes.vocabulary)


def _prompts(root: Path) -> tuple[dict[str, str], str | None]:
    name = "config_sentence_transformers.json"
    config = table(root, name) or {}
    if config.get("model_type") not in (None, "SentenceTransformer"):
        raise InvalidModel(f"{name}: a {str(config['model_type'])[:50]} gives no dense vectors")
    given = config.get("prompts") or {}
    if not isinstance(given, dict) or len(given) > MAX_PROMPTS:
        raise InvalidModel(f"{name}: prompts must be an object of at most {MAX_PROMPTS} texts")
    prompts = {key: text for key, text in given.items() if text is not None}
    for key, text in prompts.items():
        if not isinstance(text, str) or len(text) > MAX_PROMPT or len(key) > 200:
            raise InvalidModel(
                f"{name}: prompt {key[:100]} must be a text of at most {MAX_PROMPT:,}"
            )
    default = config.get("default_prompt_name")
    known = [*given, "query", "document"]  # these two need not be spelt out
    if default is not None and default not in known:
        raise InvalidModel(
            f"{name}: default_prompt_name {str(default)[:100]} is not among its prompts"
        )
    return prompts, next((key for key in prompts if key == default), None)


def _truncation_side(tokenizer: dict[str, Any]) -> Literal["left", "right"]:
    return "left" if tokenizer.get("truncation_side") == "left" else "right"


def _newest(root: Path, folder: str) -> int:
    inside = [path for path in (root / folder).iterdir() if path.is_file()]
    return int(max(path.stat().st_mtime for path in inside))
