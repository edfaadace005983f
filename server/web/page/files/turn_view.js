// One turn on the page: the question, the answer as it comes, what is said about it, and what can be done with it.

import { facts } from "./answer_facts.js";
import { button, copyButton, element } from "./elements.js";
import { render } from "./markdown.js";
import { SourcesView } from "./sources_view.js";

export class TurnView {
  // `actions`: what the page does when asked to `edit` a question or to ask it `again`.
  constructor(question, actions) {
    this.question = question;
    this.actions = actions;
    this.text = "";
    this.node = element("li", "turn");
    this.reply = element("div", "reply");
    this.answer = element("div", "answer");
    const mine = element("div", "mine", question);
    mine.dir = "auto";
    this.answer.append(element("h3", "hidden", "Answer"), this.reply);
    this.node.append(element("h3", "hidden", "Question"), mine, this.answer);
  }

  writing(isWriting) {
    this.clock = isWriting ? { asked: performance.now(), first: 0 } : null;
    this.node.toggleAttribute("data-writing", isWriting);
    this.answer.setAttribute("aria-busy", String(isWriting));
  }

  add(piece) {
    if (!piece) return;
    if (this.clock && !this.clock.first) this.clock.first = performance.now();
    this.text += piece;
    this.#drawSoon();
  }

  // `record`: an answer of /invocations, or a stored turn.
  finish(record) {
    this.text = record.outputs ?? record.reply;
    this.turn = record.turn;
    const found = record.sources.length ? new SourcesView(record.sources) : null;
    this.#draw((number) => found?.mark(number) ?? null);
    this.answer.classList.toggle("withheld", record.finish_reason.startsWith("moderated"));
    this.answer.append(facts(record, this.clock));
    if (found) this.answer.append(found.node);
    this.#offer(copyButton(() => this.text), this.#editButton(), this.#againButton("Ask again"));
  }

  fail(error) {
    this.#dropEmptyReply();
    const problem = element("div", "problem", error.message);
    problem.setAttribute("role", "alert");
    const detail = [error.code, error.request_id].filter(Boolean).join(" · ");
    if (detail) problem.append(element("br"), element("code", "", detail));
    this.answer.append(problem);
    this.#offer(this.#againButton("Try again"), this.#editButton());
  }

  note(text) {
    this.#dropEmptyReply();
    this.answer.append(element("div", "note", text));
    this.#offer(this.#againButton("Ask again"), this.#editButton());
  }

  // Whether the server remembers it, so that another question can take its place only by its number.
  get isAnswered() {
    return this.node.querySelector(".facts") !== null;
  }

  #offer(...buttons) {
    const row = element("div", "turn-actions");
    row.append(...buttons);
    this.answer.append(row);
  }

  #editButton() {
    return button("Edit", "small", () => this.actions.edit(this));
  }

  #againButton(label) {
    return button(label, "small", () => this.actions.again(this));
  }

  #dropEmptyReply() {
    if (!this.text) this.reply.remove();
  }

  // At most once a frame, however fast the pieces come.
  #drawSoon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => this.#draw());
  }

  #draw(cite) {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    this.reply.replaceChildren(render(this.text, cite));
  }
}
