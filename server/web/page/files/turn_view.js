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
    if (record.sources.length) this.showSources(record.sources);
    else this.sources?.node.remove();
    this.#draw((number) => this.sources?.mark(number) ?? null, marked(this.text, record.citations ?? []));
    this.answer.classList.toggle("withheld", record.finish_reason.startsWith("moderated"));
    this.answer.append(facts(record, this.clock));
    if (record.sources.length) this.answer.append(this.sources.node);
    this.#offer(copyButton(() => this.text), this.#editButton(), this.#againButton("Ask again"), ...this.#rateButtons());
  }

  // The passages are known before the first word.
  showSources(sources) {
    this.sources?.node.remove();
    this.sources = new SourcesView(sources);
    this.answer.append(this.sources.node);
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

  #rateButtons() {
    if (!this.turn) return [];
    return ["up", "down"].map((rating) => {
      const made = button(rating === "up" ? "Good" : "Bad", "small", async () => {
        await this.actions.rate(this, rating);
        for (const each of made.parentElement.querySelectorAll("[aria-pressed]")) each.setAttribute("aria-pressed", "false");
        made.setAttribute("aria-pressed", "true");
      });
      made.setAttribute("aria-pressed", "false");
      return made;
    });
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

  #draw(cite, text = this.text) {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    this.reply.replaceChildren(render(text, cite));
  }
}

// `text` with the marks of its citations behind the sentences; places count whole characters.
function marked(text, citations) {
  const letters = Array.from(text);
  const later = [...citations].sort((a, b) => b.end - a.end || b.source - a.source);
  for (const { end, source } of later) letters.splice(end, 0, ` [${source}]`);
  return letters.join("");
}
