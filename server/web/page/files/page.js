// The chat page: one conversation, kept by the server under an id that the browser remembers.

import { messages } from "./event_stream.js";
import { forget, recall, remember } from "./memory.js";
import { TurnView } from "./turn_view.js";

const SESSION = "session";
const RETRIEVAL = "retrieval";
const STATUS_EVERY_MS = 4000;
const ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes";

const page = Object.fromEntries(
  ["composer", "erase", "examples", "new", "question", "retrieval", "send", "status", "stop", "turns", "welcome"].map(
    (id) => [id, document.getElementById(id)],
  ),
);
const scroller = document.querySelector("main");
let asking = null; // the AbortController of the question under way

// Questions.

async function ask(question) {
  const view = show(new TurnView(question));
  asking = new AbortController();
  setBusy(true);
  view.writing(true);
  try {
    await stream(question, view, asking.signal);
  } catch (error) {
    if (error.name === "AbortError") view.note("Stopped. This turn is not remembered.");
    else view.fail(error);
  }
  view.writing(false);
  asking = null;
  setBusy(false);
  page.question.focus();
}

async function stream(question, view, signal) {
  const response = await fetch("invocations", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ inputs: question, parameters: parameters(), stream: true }),
    signal,
  });
  if (!response.ok) throw await problem(response);
  keepSession((response.headers.get(ATTRIBUTES) ?? "").replace(/^session_id=/, ""));
  let ended = false;
  for await (const message of messages(response)) {
    ended = take(message, view) || ended;
    followEnd();
  }
  if (!ended) throw new Error("The connection was lost before the answer was complete.");
}

function take(message, view) {
  if (message.error) view.fail(message.error);
  else if (Array.isArray(message.outputs)) message.outputs.forEach((piece) => view.add(piece));
  else view.finish(message);
  return !Array.isArray(message.outputs);
}

function parameters() {
  const session = recall(SESSION);
  return {
    ...(session ? { session_id: session } : {}),
    ...(page.retrieval.checked ? {} : { no_retrieval: true }),
  };
}

async function problem(response) {
  try {
    const { error } = await response.json();
    return Object.assign(new Error(error.message), error);
  } catch {
    return new Error(`The server answered with status ${response.status}.`);
  }
}

// The conversation.

function keepSession(id) {
  if (id) remember(SESSION, id);
  page.erase.hidden = !recall(SESSION);
}

async function restore() {
  const session = recall(SESSION);
  if (!session) return;
  const response = await fetch(`sessions/${encodeURIComponent(session)}`);
  if (response.status === 404) return startAnew();
  if (!response.ok) return;
  for (const turn of (await response.json()).turns) show(new TurnView(turn.user)).finish(turn);
  keepSession(session);
  followEnd();
}

function startAnew() {
  asking?.abort();
  forget(SESSION);
  page.turns.replaceChildren();
  page.welcome.hidden = false;
  page.erase.hidden = true;
  page.question.focus();
}

async function erase() {
  if (!confirm("Erase this conversation from the server?")) return;
  const response = await fetch(`sessions/${encodeURIComponent(recall(SESSION))}`, { method: "DELETE" });
  if (response.ok || response.status === 404) startAnew();
  else show(new TurnView("Erase")).fail(await problem(response));
}

// The page.

function show(view) {
  page.welcome.hidden = true;
  page.turns.append(view.node);
  followEnd(true);
  return view;
}

function followEnd(always = false) {
  const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  if (always || below < 160) scroller.scrollTop = scroller.scrollHeight;
}

function setBusy(isBusy) {
  page.send.disabled = isBusy;
  page.stop.hidden = !isBusy;
}

function submit() {
  const question = page.question.value.trim();
  if (!question || asking) return;
  page.question.value = "";
  ask(question);
}

async function showStatus() {
  const [state, text] = await status();
  page.status.dataset.state = state;
  page.status.textContent = text;
}

async function status() {
  try {
    const detail = await (await fetch("ping?detail=1")).json();
    if (detail.status !== "ready") return ["starting", `the engine is ${detail.status}`];
    const { world, dtype } = detail.engine;
    const index = detail.index ? "with passages" : "no index";
    return ["ready", `${world} ${world === 1 ? "rank" : "ranks"} · ${dtype} · moderation ${detail.moderation} · ${index}`];
  } catch {
    return ["down", "the server does not answer"];
  }
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
page.question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
page.examples.addEventListener("click", (event) => {
  if (event.target.matches("button") && !asking) ask(event.target.textContent);
});
page.stop.addEventListener("click", () => asking?.abort());
page.new.addEventListener("click", startAnew);
page.erase.addEventListener("click", erase);
page.retrieval.checked = recall(RETRIEVAL) !== "off";
page.retrieval.addEventListener("change", () => remember(RETRIEVAL, page.retrieval.checked ? "on" : "off"));

showStatus();
setInterval(showStatus, STATUS_EVERY_MS);
restore().catch(() => {}); // the status line says that the server is away
