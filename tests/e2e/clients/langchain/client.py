"""langchain-openai. It leaves the format to the openai package, which asks for base64."""

from adapter import Answer, Job, refuse, serve
from langchain_openai import OpenAIEmbeddings


def work(job: Job) -> Answer:
    refuse(job, "models", "encoding_format")
    client = OpenAIEmbeddings(
        model=job["model"],
        base_url=job["url"],
        api_key=job["key"],
        dimensions=job.get("dimensions"),
        max_retries=job["retries"],
        timeout=job["timeout"],
        check_embedding_ctx_length=job.get("tokenise", False),
    )
    if isinstance(job["input"], str):
        return {"vectors": [client.embed_query(job["input"])]}
    return {"vectors": client.embed_documents(job["input"])}


serve(work)
