"""Texts that every model is tried with at its first load: short and long, several languages."""

from embedwell.interfaces.embedding import EmbeddingCall
from embedwell.interfaces.encoders import Batch, batch_of
from embedwell.interfaces.models import Manifest, ModelRef, Snapshot
from embedwell.tokenization.tokenizers import Tokenizers

PARAGRAPH = (
    "The ferry left the island an hour late, because the fog would not lift from the harbour and "
    "the captain refused to trust the new radar. Passengers drank coffee out of paper cups, read "
    "yesterday's newspapers twice and asked the same three questions again and again: when, why, "
    "and who would pay for the missed trains? "
)
TEXTS = (
    "ok",
    "Berlin",
    "7",
    "thank you so much",
    "red running shoes, size 42",
    "café à emporter",
    "서울의 날씨",
    "مرحبا بالعالم",
    "error: connection reset by peer",
    "ping 10.0.0.1",
    "How do I reset my password?",
    "The cat sat on the mat.",
    "A man is playing a guitar on the street while people walk past him.",
    "Two dogs are running through shallow water, and neither of them is afraid.",
    "Revenue fell by 3.4 % in the second quarter, to $12.7 million.",
    "Wo kann ich am Sonntag in der Nähe des Bahnhofs frisches Brot kaufen?",
    "¿Cuál es la diferencia entre un contrato de alquiler y uno de compraventa?",
    "今日は天気がいいので、川まで歩きましょう。",
    "Погода испортилась, и мы вернулись домой раньше, чем собирались.",
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2  # of a circle",
    "SELECT name, count(*) FROM visits WHERE day > '2024-01-01' GROUP BY name ORDER BY 2 DESC;",
    "Not good. Not bad either; it is what it is, and nobody in the village would have it changed.",
    PARAGRAPH,
    PARAGRAPH * 3,
)


async def tokenized(tokenizers: Tokenizers, snapshot: Snapshot, manifest: Manifest) -> Batch:
    """The texts as the model gets them; raises what its tokeniser raises."""
    ref = ModelRef(snapshot.key.name)
    call = EmbeddingCall(ref=ref, texts=TEXTS, timeout=60)
    tokens = await tokenizers.encode(snapshot, manifest, call)
    return batch_of(tokens, range(len(tokens.lengths)))
