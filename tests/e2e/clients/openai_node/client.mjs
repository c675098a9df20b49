// openai for Node, which asks for base64 where the caller names no format, and then requires it.
import OpenAI from "openai";
import { chosen, serve } from "./adapter.mjs";

await serve(async job => {
  const client = new OpenAI({
    baseURL: job.url, apiKey: job.key, maxRetries: job.retries, timeout: job.timeout * 1000,
  });
  if (job.call === "models") return { models: await listed(client) };
  const answer = await client.embeddings.create(
    { model: job.model, input: job.input, ...chosen(job) });
  return { vectors: answer.data.map(row => row.embedding), tokens: answer.usage.total_tokens };
});

async function listed(client) {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  return names;
}
