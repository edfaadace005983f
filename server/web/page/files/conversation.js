// The conversation on the page: asking, stopping, trying again, and what is remembered of it by the server.

import * as api from "./api.js";
import { button } from "./elements.js";
import { parameters } from "./preferences.js";
import { TurnView } from "./turn_view.js";

const SHOWN_TURNS = 50; // at once, of a long conversation
const BUSY_TRIES = 8;

export class Conversation {
  // `place`: the list of turns; `on`: what the page wants to hear of.
  constructor(place, on) {
    this.place = place;
    this.on = on;
    this.session = "";
    this.asking = null; // the AbortController of the question under way
  }

  get isBusy() {
    return this.asking !== null;
  }

  clear() {
    this.asking?.abort();
    this.session = "";
    this.place.replaceChildren();
  }

  // The server hears of it, too, so that the next question need not wait until it notices.
  stop() {
    if (!this.asking) return;
    this.asking.abort();
    if (this.session) api.cancel(this.session);
  }

  // `instead`: the turn whose place the question takes; those behind it go, too.
  async ask(question, instead = null) {
    const view = new TurnView(question, this.#actions());
    const replaces = instead?.isAnswered ? instead.turn : 0;
    while (replaces && instead.node.nextElementSibling) instead.node.nextElementSibling.remove();
    if (instead) instead.node.replaceWith(view.node);
    else this.place.append(view.node);
    const controller = (this.asking = new AbortController());
    this.on.change();
    this.on.shown(view.node);
    view.writing(true);
    try {
      await this.#stream({ question, replaces }, view, controller.signal);
    } catch (error) {
      if (error.name === "AbortError") view.note("Stopped. An answer that was not complete is not remembered.");
      else view.fail(error);
    }
    view.writing(false);
    if (this.asking !== controller) return; // another conversation was begun meanwhile
    this.asking = null;
    this.on.ended(view);
    this.on.change();
  }

  // Show what the server remembers; false when it does not know the conversation.
  async restore(session) {
    const turns = await api.history(session);
    if (turns === null) return false;
    this.session = session;
    this.#showLast(turns);
    return true;
  }

  // A server that still works on a question before this one is asked again; an expired conversation is begun anew.
  async #stream(asked, view, signal) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#streamOnce(asked, view, signal);
      } catch (error) {
        if (error.code === "session_not_found" && this.session) [this.session, asked.replaces] = ["", 0];
        else if (error.code !== "session_busy" || tries === BUSY_TRIES) throw error;
        else await pause(1000 * (error.retry_after ?? 1), signal);
      }
    }
  }

  async #streamOnce({ question, replaces }, view, signal) {
    let ended = false;
    const place = { ...(this.session ? { session_id: this.session } : {}), ...(replaces ? { replace_turn: replaces } : {}) };
    await api.ask(question, { ...parameters(), ...place }, {
      signal,
      onSession: (id) => this.#keep(id, question),
      onMessage: (message) => {
        ended = this.#take(message, view) || ended;
        this.on.grew();
      },
    });
    if (!ended) throw new Error("The connection was lost before the answer was complete.");
  }

  #keep(id, question) {
    if (id) this.session = id;
    this.on.asked(this.session, question);
  }

  #take(message, view) {
    if (message.error) view.fail(message.error);
    else if (Array.isArray(message.outputs)) {
      if (message.sources) view.showSources(message.sources);
      message.outputs.forEach((piece) => view.add(piece));
    }
    else if (message.outputs !== undefined) view.finish(message);
    else return false; // an event that this page does not know
    return !Array.isArray(message.outputs);
  }

  #actions() {
    return {
      edit: (view) => this.on.edit(view),
      again: (view) => this.isBusy || this.ask(view.question, view),
      rate: (view, rating) => api.rate(this.session, view.turn, rating),
    };
  }

  #showLast(turns) {
    const start = Math.max(0, turns.length - SHOWN_TURNS);
    const views = turns.slice(start).map((turn) => {
      const view = new TurnView(turn.user, this.#actions());
      view.finish(turn);
      return view.node;
    });
    this.place.prepend(...views);
    if (start) this.#offerEarlier(turns.slice(0, start));
  }

  #offerEarlier(turns) {
    const item = document.createElement("li");
    item.className = "earlier";
    item.append(
      button(`${turns.length} earlier ${turns.length === 1 ? "turn" : "turns"}`, "quiet", () => {
        item.remove();
        this.#showLast(turns);
      }),
    );
    this.place.prepend(item);
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}
