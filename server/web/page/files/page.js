// The chat page: the conversation, the list of conversations, the composer, and how the server is.

import * as api from "./api.js";
import { Conversation } from "./conversation.js";
import { ConversationList } from "./conversation_list.js";
import { forget, recall, remember } from "./memory.js";
import { setUpPreferences } from "./preferences.js";

const SESSION = "session";
const DRAFT = "draft";
const STATUS_EVERY_MS = 4000;

const page = Object.fromEntries(
  [
    "announcer", "close-menu", "composer", "conversations", "editing", "erase", "examples", "menu", "new", "none", "problem", "question",
    "search", "send", "sidebar", "status", "stop", "turns", "welcome",
  ].map((id) => [id, document.getElementById(id)]),
);
let editing = null; // the turn whose question is being edited
const scroller = document.querySelector("main");

const conversation = new Conversation(page.turns, {
  asked: keepSession,
  change: showBusy,
  edit: (view) => edit(view),
  ended: (view) => {
    if (view.isAnswered) page.announcer.textContent = `The answer is complete: ${view.text}`.slice(0, 2000);
    if ([document.body, page.stop].includes(document.activeElement)) page.question.focus();
  },
  grew: () => followEnd(),
  shown: (node) => {
    page.welcome.hidden = true;
    if (node === page.turns.lastElementChild) followEnd(true);
  },
});
const list = new ConversationList(page.conversations, page.none, { open, remove });

// Conversations.

function keepSession(id, question) {
  if (!id) return;
  remember(SESSION, id);
  list.current = id;
  list.touch(id, question);
  page.erase.hidden = false;
}

function startAnew() {
  conversation.clear();
  if (editing) edit(null);
  forget(SESSION);
  list.select("");
  page.welcome.hidden = false;
  page.erase.hidden = true;
  showBusy();
  showSidebar(false);
  page.question.focus();
}

async function open(id) {
  startAnew();
  await restore(id);
}

async function restore(id) {
  page.problem.hidden = true;
  try {
    if (!(await conversation.restore(id))) {
      list.forget(id);
      if (recall(SESSION) === id) forget(SESSION);
      return;
    }
  } catch (error) {
    conversation.session = id; // the server is busy or away, and has not forgotten it
    page.problem.querySelector("span").textContent = `The conversation cannot be shown now: ${error.message}`;
    page.problem.querySelector("button").onclick = () => restore(id);
    page.problem.hidden = false;
  }
  remember(SESSION, id);
  list.select(id);
  page.erase.hidden = false;
  page.welcome.hidden = page.turns.childElementCount > 0;
  followEnd(true);
}

async function remove(id, title = "this conversation") {
  if (!confirm(`Erase “${title}” from the server?`)) return;
  try {
    await api.erase(id);
  } catch (error) {
    page.problem.querySelector("span").textContent = `It cannot be erased now: ${error.message}`;
    page.problem.querySelector("button").onclick = () => remove(id, title);
    page.problem.hidden = false;
    return;
  }
  page.problem.hidden = true;
  list.forget(id);
  if (recall(SESSION) === id) startAnew();
}

// The page.

function followEnd(always = false) {
  const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  if (always || below < 160) scroller.scrollTop = scroller.scrollHeight;
}

function showBusy() {
  page.send.setAttribute("aria-disabled", String(conversation.isBusy));
  page.stop.hidden = !conversation.isBusy;
}

function showSidebar(isOpen) {
  page.sidebar.classList.toggle("open", isOpen);
  page.menu.setAttribute("aria-expanded", String(isOpen));
  if (isOpen) page.search.focus();
}

function closeSidebar() {
  showSidebar(false);
  page.menu.focus();
}

// The next question takes the place of `view`, until it is sent or the person thinks better of it.
function edit(view) {
  editing = view;
  page.editing.hidden = !view;
  page.question.value = view?.question ?? "";
  page.question.focus();
}

function submit() {
  const question = page.question.value.trim();
  if (!question || conversation.isBusy) return;
  const instead = editing?.node.isConnected ? editing : null;
  edit(null);
  forget(DRAFT);
  conversation.ask(question, instead);
}

async function showStatus() {
  const [state, text] = await api.status();
  if (page.status.textContent === text) return; // the same words again would be read out again
  page.status.dataset.state = state;
  page.status.textContent = text;
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
page.question.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return; // Enter that ends a composition; Safari says so by 229 alone
  if (event.key === "Escape") conversation.stop();
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  submit();
});
page.question.addEventListener("input", () => remember(DRAFT, page.question.value));
page.examples.addEventListener("click", (event) => {
  if (event.target.matches("button") && !conversation.isBusy) conversation.ask(event.target.textContent);
});
page.stop.addEventListener("click", () => conversation.stop());
page.editing.querySelector("button").addEventListener("click", () => edit(null));
page.new.addEventListener("click", startAnew);
page.erase.addEventListener("click", () => remove(conversation.session));
page.menu.addEventListener("click", () => showSidebar(!page.sidebar.classList.contains("open")));
page.sidebar.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && page.sidebar.classList.contains("open")) closeSidebar();
});
page["close-menu"].addEventListener("click", closeSidebar);
page.search.addEventListener("input", () => list.search(page.search.value));
page.question.value = recall(DRAFT) ?? "";
setUpPreferences();

list.search("");
showStatus();
setInterval(showStatus, STATUS_EVERY_MS);
if (recall(SESSION)) restore(recall(SESSION));
