// Vercel's AI SDK with its provider for compatible servers; with the word `openai` OpenAI's own.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, embedMany } from "ai";
import { refuse, serve } from "./adapter.mjs";

const own = process.argv[2] === "openai";
const name = own ? "openai" : "openaiCompatible";

await serve(async job => {
  refuse(job, "models", "encoding_format");
  const settings = { name, baseURL: job.url, apiKey: job.key };
  const provider = own ? createOpenAI(settings) : createOpenAICompatible(settings);
  const asked = {
    model: provider.embeddingModel(job.model),
    maxRetries: job.retries,
    abortSignal: AbortSignal.timeout(job.timeout * 1000),
    providerOptions: { [name]: { dimensions: job.dimensions } },
  };
  if (typeof job.input === "string") {
    const { embedding, usage } = await embed({ ...asked, value: job.input });
    return { vectors: [embedding], tokens: usage.tokens };
  }
  const { embeddings, usage } = await embedMany({ ...asked, values: job.input });
  return { vectors: embeddings, tokens: usage.tokens };
});
