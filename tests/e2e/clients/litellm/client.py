"""litellm, which sends `encoding_format: null` where the caller names none."""

import litellm
from adapter import Answer, Job, chosen, refuse, serve


def work(job: Job) -> Answer:
    refuse(job, "models")
    answer = litellm.embedding(
        model=f"openai/{job['model']}",
        input=job["input"],
        api_base=job["url"],
        api_key=job["key"],
        max_retries=job["retries"],
        timeout=job["timeout"],
        allowed_openai_params=["dimensions"],
        **chosen(job),
    )
    vectors = [row["embedding"] for row in answer.data]
    return {"vectors": vectors, "tokens": answer.usage.total_tokens}


serve(work)
