// The passages of an answer, numbered as the marks in its text are.

import { element } from "./elements.js";
import { link } from "./inline_markdown.js";

export class SourcesView {
  constructor(sources) {
    this.sources = sources;
    this.node = element("details", "sources");
    const summary = element("summary", "", sources.length === 1 ? "Source: " : `${sources.length} sources: `);
    summary.append(element("b", "", sources.map((source) => source.title).join(", ")));
    this.items = sources.map(item);
    const list = element("ol");
    list.append(...this.items);
    this.node.append(summary, list);
    this.node.addEventListener("toggle", () => this.node.open && this.node.scrollIntoView({ block: "nearest" }));
  }

  // The mark [number] of a source: a button that opens its passage; nothing where there is no such source.
  mark(number) {
    const source = this.sources[number - 1];
    if (!source) return null;
    const made = element("button", "mark", `[${number}]`);
    made.type = "button";
    made.title = source.title;
    made.setAttribute("aria-label", `Source ${number}: ${source.title}`);
    made.addEventListener("click", () => this.open(number));
    return made;
  }

  open(number) {
    this.node.open = true;
    const found = this.items[number - 1];
    found.scrollIntoView({ block: "nearest" });
    found.focus({ preventScroll: true });
  }
}

function item(source, index) {
  const made = element("li");
  made.tabIndex = -1;
  const title = element("h4");
  const place = [source.section, `score ${source.score.toFixed(2)}`].filter(Boolean).join(" · ");
  title.append(`${index + 1}. `, linked(source), " ", element("span", "score", place));
  const text = element("p", "", source.text);
  title.dir = text.dir = "auto";
  made.append(title, text);
  return made;
}

function linked(source) {
  const isWeb = /^https?:\/\//.test(source.url ?? "");
  return isWeb ? link(source.title, source.url) : document.createTextNode(source.title);
}
