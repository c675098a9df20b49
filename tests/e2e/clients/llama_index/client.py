"""llama-index's OpenAILikeEmbedding."""

from adapter import Answer, Job, refuse, serve
from llama_index.embeddings.openai_like import OpenAILikeEmbedding


def work(job: Job) -> Answer:
    refuse(job, "models", "encoding_format")
    client = OpenAILikeEmbedding(
        model_name=job["model"],
        api_base=job["url"],
        api_key=job["key"],
        dimensions=job.get("dimensions"),
        max_retries=job["retries"],
        timeout=job["timeout"],
        embed_batch_size=100,
    )
    if isinstance(job["input"], str):
        return {"vectors": [client.get_query_embedding(job["input"])]}
    return {"vectors": client.get_text_embedding_batch(job["input"])}


serve(work)
