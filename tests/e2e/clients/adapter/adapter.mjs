// What every client's script for Node has in common; adapter.py says what jobs and answers are.
import { createInterface } from "node:readline";

export class Unsupported extends Error {}

export async function serve(work) {
  for await (const line of createInterface({ input: process.stdin }))
    process.stdout.write(JSON.stringify(await outcome(work, JSON.parse(line))) + "\n");
}

export function chosen(job) {
  const named = Object.entries(job).filter(([name]) => ["dimensions", "encoding_format"].includes(name));
  return Object.fromEntries(named);
}

export function refuse(job, ...names) {
  for (const name of names)
    if (name in job || job.call === name) throw new Unsupported(name);
}

async function outcome(work, job) {
  try {
    return await work(job);
  } catch (error) {
    if (error instanceof Unsupported) return { unsupported: error.message };
    const status = error.status ?? error.statusCode ?? null;
    return { error: { class: error.constructor.name, message: String(error.message), status } };
  }
}
