"""How many tokens a model takes: what its files state, capped by its position table."""

from typing import Any

MAX_TOKENS = 1_048_576
FALLBACK = 512
# Position ids of these begin after the padding token's; rows before them are never used.
AFTER_PADDING = {
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "xmod"),
    *("data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet"),
}
AFTER_TWO = {"bart", "blenderbot", "mbart", "opt", "plbart"}


def longest(stated: Any, kind: str, config: dict[str, Any], positions: int | None) -> int:
    """The limit, special tokens included; `positions` are the rows of the position table.

    `stated` is what the files say; the huge numbers that stand for "no limit" are passed over.
    """
    usable = _usable(kind, config, positions)
    known = [count for count in (_sane(stated), usable) if count]
    return min(*known, MAX_TOKENS) if known else FALLBACK


def _usable(kind: str, config: dict[str, Any], positions: int | None) -> int | None:
    known = [count for count in (positions, _sane(config.get("max_position_embeddings"))) if count]
    if not known:
        return None
    if kind in AFTER_PADDING and (positions or kind != "esm"):
        padding = config.get("pad_token_id")
        return max(1, min(known) - 1 - (padding if isinstance(padding, int) else 1))
    if kind in AFTER_TWO and positions:
        return max(1, positions - 2)
    return min(known)


def _sane(value: Any) -> int | None:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return value if plain and 1 <= value <= MAX_TOKENS else None
