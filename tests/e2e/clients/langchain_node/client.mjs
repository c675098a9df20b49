// LangChain.js.
import { OpenAIEmbeddings } from "@langchain/openai";
import { refuse, serve } from "./adapter.mjs";

await serve(async job => {
  refuse(job, "models");
  const client = new OpenAIEmbeddings({
    model: job.model, apiKey: job.key, configuration: { baseURL: job.url },
    dimensions: job.dimensions, encodingFormat: job.encoding_format,
    maxRetries: job.retries, timeout: job.timeout * 1000,
  });
  if (typeof job.input === "string") return { vectors: [await client.embedQuery(job.input)] };
  return { vectors: await client.embedDocuments(job.input) };
});
