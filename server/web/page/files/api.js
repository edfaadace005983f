// The routes that the page uses.

import { messages } from "./event_stream.js";
import { recall } from "./memory.js";

const KEY = "api_key";
const ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes";

// A request with the key of the settings dialog, where there is one.
function send(path, { headers, ...options } = {}) {
  const key = recall(KEY);
  return fetch(path, { ...options, headers: { ...headers, ...(key ? { "x-api-key": key } : {}) } });
}

// Streams the answer to a question: `onSession(id)` once, then `onMessage(message)` for each.
export async function ask(question, parameters, { signal, onSession, onMessage }) {
  const response = await send("invocations", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ inputs: question, parameters, stream: true }),
    signal,
  });
  if (!response.ok) throw await problem(response);
  onSession((response.headers.get(ATTRIBUTES) ?? "").replace(/^session_id=/, ""));
  for await (const message of messages(response)) onMessage(message);
}

// All turns of a conversation, oldest first; null when the server does not know it.
export async function history(session) {
  const turns = [];
  let after = 0;
  do {
    const response = await send(`sessions/${encodeURIComponent(session)}?after=${after}`);
    if (response.status === 404) return null;
    if (!response.ok) throw await problem(response);
    const page = await response.json();
    turns.push(...page.turns);
    after = page.next_after;
  } while (after);
  return turns;
}

// End what is under way in a conversation. A server that cannot be reached notices the closed connection by itself.
export async function cancel(session) {
  await send(`sessions/${encodeURIComponent(session)}/cancel`, { method: "POST" }).catch(() => {});
}

export async function erase(session) {
  const response = await send(`sessions/${encodeURIComponent(session)}`, { method: "DELETE" });
  if (!response.ok && response.status !== 404) throw await problem(response);
}

export async function rate(session, turn, rating) {
  const response = await send(`sessions/${encodeURIComponent(session)}/turns/${turn}/feedback`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ rating }),
  });
  if (!response.ok) throw await problem(response);
}

// How the server is: a state, and a line for people.
export async function status() {
  try {
    const response = await send("ping?detail=1");
    if (response.status === 401 || response.status === 403) return plainStatus();
    const detail = await response.json();
    if (detail.status !== "ready") return ["starting", `the engine is ${detail.status}`];
    const { world, dtype } = detail.engine;
    const index = detail.index ? "with passages" : "no index";
    return ["ready", `${world} ${world === 1 ? "rank" : "ranks"} · ${dtype} · moderation ${detail.moderation} · ${index}`];
  } catch {
    return ["down", "the server does not answer"];
  }
}

// What those may see who are no operators.
async function plainStatus() {
  return (await send("ping")).ok ? ["ready", "the server answers"] : ["starting", "the server does not answer questions yet"];
}

async function problem(response) {
  try {
    const { error } = await response.json();
    return Object.assign(new Error(error.message), error);
  } catch {
    return new Error(`The server answered with status ${response.status}.`);
  }
}
