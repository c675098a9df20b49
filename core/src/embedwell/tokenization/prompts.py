"""Which prompt stands before the texts of a call."""

from embedwell.errors import Invalid
from embedwell.interfaces.embedding import EmbeddingCall
from embedwell.interfaces.models import Manifest

INPUT_TYPES = {"query": ("query",), "document": ("document", "passage")}


def choose(call: EmbeddingCall, manifest: Manifest) -> str:
    """The prompt's text, "" for none: `prompt_name`, else `input_type`, else the model's default.

    Raises Invalid for a name that the model does not have.
    """
    prompts = manifest.prompts
    if call.prompt_name is not None:
        if call.prompt_name not in prompts:
            have = ", ".join(sorted(prompts)) or "none"
            name = call.prompt_name[:100]
            raise Invalid(f"prompt_name: no prompt {name!r}; it has: {have}", param="prompt_name")
        return prompts[call.prompt_name]
    if call.input_type is not None:
        if call.input_type not in INPUT_TYPES:
            raise Invalid('input_type: expected "query" or "document"', param="input_type")
        return next((prompts[n] for n in INPUT_TYPES[call.input_type] if n in prompts), "")
    return prompts.get(manifest.default_prompt or "", "")
