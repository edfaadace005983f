// The conversations that this browser knows, newest first: their ids, titles and questions are kept here alone.

import { button, element } from "./elements.js";
import { recall, remember } from "./memory.js";

const KEPT = "conversations";
const MOST = 500;
const TITLE_LENGTH = 60;
const WORDS_LENGTH = 2000; // of the questions, for the search

export class ConversationList {
  constructor(place, none, on) {
    this.place = place;
    this.none = none;
    this.on = on;
    this.current = "";
    this.words = "";
    this.kept = read();
  }

  // Note that something was asked in a conversation.
  touch(id, question) {
    const known = this.kept.find((each) => each.id === id);
    const kept = known ?? { id, title: title(question), words: "" };
    kept.words = `${kept.words} ${question}`.slice(-WORDS_LENGTH);
    this.kept = [kept, ...this.kept.filter((each) => each !== known)].slice(0, MOST);
    this.#changed();
  }

  forget(id) {
    this.kept = this.kept.filter((each) => each.id !== id);
    this.#changed();
  }

  select(id) {
    this.current = id;
    this.#draw();
  }

  search(words) {
    this.words = words.trim().toLowerCase();
    this.#draw();
  }

  #changed() {
    remember(KEPT, JSON.stringify(this.kept));
    this.#draw();
  }

  #draw() {
    const found = this.kept.filter((each) => `${each.title} ${each.words}`.toLowerCase().includes(this.words));
    this.place.replaceChildren(...found.map((each) => this.#item(each)));
    this.none.hidden = found.length > 0;
    this.none.textContent = this.words ? "No conversation has these words." : "No conversation yet.";
  }

  #item(kept) {
    const item = element("li");
    const open = button(kept.title, "conversation", () => this.on.open(kept.id));
    open.dir = "auto";
    if (kept.id === this.current) open.setAttribute("aria-current", "true");
    const rename = button("Rename", "small", () => this.#rename(item, kept));
    const remove = button("Delete", "small", () => this.on.remove(kept.id, kept.title));
    rename.setAttribute("aria-label", `Rename ${kept.title}`);
    remove.setAttribute("aria-label", `Delete ${kept.title}`);
    item.append(open, rename, remove);
    return item;
  }

  #rename(item, kept) {
    const field = element("input");
    field.value = kept.title;
    field.maxLength = 2 * TITLE_LENGTH;
    field.setAttribute("aria-label", "New title");
    const end = (keep) => {
      if (keep && field.value.trim()) kept.title = field.value.trim();
      this.#changed();
      this.place.querySelector(".conversation[aria-current], .conversation")?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
    });
    field.addEventListener("change", () => field.isConnected && end(true));
    item.replaceChildren(field);
    field.select();
  }
}

function title(question) {
  const line = question.trim().split("\n")[0];
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1)}…` : line;
}

function read() {
  try {
    const kept = JSON.parse(recall(KEPT) ?? "[]");
    return kept.filter((each) => typeof each.id === "string" && typeof each.title === "string");
  } catch {
    return [];
  }
}
