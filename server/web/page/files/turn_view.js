// One turn on the page. All text goes in as text nodes, never as markup.

const REASONS = {
  stop: "complete",
  length: "cut at the length limit",
  deadline: "cut at the time limit",
  shutdown: "cut short by a shutdown",
  moderated_input: "question withheld by moderation",
  moderated_output: "reply withheld by moderation",
};

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export class TurnView {
  constructor(question) {
    this.node = element("li", "turn");
    this.answer = element("div", "answer");
    this.reply = element("div", "reply");
    this.answer.append(this.reply);
    this.node.append(element("div", "mine", question), this.answer);
  }

  writing(isWriting) {
    this.node.toggleAttribute("data-writing", isWriting);
    this.answer.setAttribute("aria-busy", String(isWriting));
  }

  add(piece) {
    this.reply.append(piece);
  }

  // `record`: an answer of /invocations, or a stored turn.
  finish(record) {
    this.reply.textContent = record.outputs ?? record.reply;
    this.answer.classList.toggle("withheld", record.finish_reason.startsWith("moderated"));
    this.answer.append(facts(record));
    if (record.sources.length) this.answer.append(sources(record.sources));
  }

  fail(error) {
    if (!this.reply.textContent) this.reply.remove();
    const problem = element("div", "problem", error.message);
    problem.setAttribute("role", "alert");
    const detail = [error.code, error.request_id].filter(Boolean).join(" · ");
    if (detail) problem.append(element("br"), element("code", "", detail));
    this.answer.append(problem);
  }

  note(text) {
    if (!this.reply.textContent) this.reply.remove();
    this.answer.append(element("div", "note", text));
  }
}

function facts(record) {
  const list = element("ul", "facts");
  const kind = record.finish_reason === "stop" ? "" : "warn";
  list.append(element("li", kind, REASONS[record.finish_reason] ?? record.finish_reason));
  for (const [role, label, title] of labels(record)) {
    const item = element("li", "", `${role}: ${label}`);
    item.title = title;
    list.append(item);
  }
  for (const warning of record.warnings ?? []) list.append(element("li", "warn", warning));
  if (record.usage) list.append(element("li", "", tokens(record.usage)));
  return list;
}

function labels(record) {
  if (!record.moderation) return Object.entries(record.labels ?? {}).map(([role, label]) => [role, label, ""]);
  return Object.entries(record.moderation).map(([role, verdict]) => [role, verdict.label, percentages(verdict.scores)]);
}

function percentages(scores) {
  const sorted = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  return sorted.map(([label, score]) => `${label} ${(100 * score).toFixed(1)} %`).join("\n");
}

function tokens(usage) {
  const cached = usage.cached_tokens ? ` (${usage.cached_tokens} reused)` : "";
  return `${usage.prompt_tokens}${cached} + ${usage.completion_tokens} tokens`;
}

function sources(found) {
  const box = element("details", "sources");
  const summary = element("summary", "", found.length === 1 ? "Source: " : `${found.length} sources: `);
  summary.append(element("b", "", found.map((source) => source.title).join(", ")));
  const list = element("ol");
  list.append(...found.map(source));
  box.append(summary, list);
  box.addEventListener("toggle", () => box.open && box.scrollIntoView({ block: "nearest" }));
  return box;
}

function source(found) {
  const item = element("li");
  const title = element("h3");
  const place = [found.section, `score ${found.score.toFixed(2)}`].filter(Boolean).join(" · ");
  title.append(linked(found), " ", element("span", "score", place));
  item.append(title, element("p", "", found.text));
  return item;
}

function linked(found) {
  if (!/^https?:\/\//.test(found.url ?? "")) return document.createTextNode(found.title);
  const link = element("a", "", found.title);
  link.href = found.url;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}
