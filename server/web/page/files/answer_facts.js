// What is said about an answer below it: how it ended, its verdicts, its tokens, its speed.

import { element } from "./elements.js";

const REASONS = {
  stop: "complete",
  length: "cut at the length limit",
  deadline: "cut at the time limit",
  shutdown: "cut short by a shutdown",
  moderated_input: "question withheld by moderation",
  moderated_output: "reply withheld by moderation",
};

// `record`: an answer of /invocations, or a stored turn; `clock`: when it was asked and its first text came.
export function facts(record, clock = null) {
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
  const said = speed(record, clock);
  if (said) list.append(element("li", "speed", said));
  return list;
}

function labels(record) {
  if (!record.moderation) return Object.entries(record.labels ?? {}).map(([role, label]) => [role, label, ""]);
  return Object.entries(record.moderation).map(([role, verdict]) => [
    role,
    verdict.label,
    percentages(verdict.scores ?? {}),
  ]);
}

function percentages(scores) {
  const sorted = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  return sorted.map(([label, score]) => `${label} ${(100 * score).toFixed(1)} %`).join("\n");
}

function tokens(usage) {
  const cached = usage.cached_tokens ? ` (${usage.cached_tokens} reused)` : "";
  return `${usage.prompt_tokens}${cached} + ${usage.completion_tokens} tokens`;
}

function speed(record, clock) {
  if (!clock?.first || record.finish_reason.startsWith("moderated")) return "";
  const seconds = (performance.now() - clock.asked) / 1000;
  const rate = (record.usage?.completion_tokens ?? 0) / Math.max(seconds, 0.001);
  return `first words ${((clock.first - clock.asked) / 1000).toFixed(1)} s · ${rate.toFixed(1)} tokens/s`;
}
