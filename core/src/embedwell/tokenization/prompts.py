"""Which of a model's prompts goes before the texts; pure."""

from collections.abc import Iterable

from embedwell.errors import Invalid
from embedwell.interfaces.embedding import EmbeddingCall
from embedwell.interfaces.models import Manifest

KINDS = {
    "query": ("query",),
    "document": ("document", "passage"),
    "passage": ("passage", "document"),
}
SHOWN = 20  # names in a message


def prompt(manifest: Manifest, call: EmbeddingCall) -> str:
    """The prompt's text, "" for none: `prompt_name`, else `input_type`, else the default.

    Raises Invalid for an unknown name or type.
    """
    prompts = manifest.prompts
    if call.prompt_name is not None:
        if call.prompt_name not in prompts:
            raise Invalid(_unknown(call.prompt_name, prompts), param="prompt_name")
        return prompts[call.prompt_name]
    if call.input_type is not None:
        return next((prompts[name] for name in _names(call.input_type) if name in prompts), "")
    return prompts.get(manifest.default_prompt or "", "")


def _names(input_type: str) -> tuple[str, ...]:
    if input_type not in KINDS:
        message = f'input_type: {_short(input_type)} is neither "query" nor "document"'
        raise Invalid(message, param="input_type")
    return KINDS[input_type]


def _unknown(name: str, prompts: Iterable[str]) -> str:
    names = sorted(prompts)
    if not names:
        return f"prompt_name: {_short(name)} is unknown, the model has no prompts"
    listed = ", ".join(_short(known) for known in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"prompt_name: {_short(name)} is unknown, the model has {listed}{more}"


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
