// Markdown inside a line: code, strong, emphasis, links to http addresses, marks of sources.

import { element } from "./elements.js";

const PATTERN = new RegExp(
  [
    "(?<ticks>`+)(?<code>[^`]|[^`][\\s\\S]*?[^`])\\k<ticks>(?!`)",
    "\\*\\*(?<strong>\\S(?:[\\s\\S]{0,2000}?\\S)?)\\*\\*",
    "(?<![\\w*])\\*(?<starred>[^\\s*](?:[^*]{0,2000}?[^\\s*])?)\\*(?![\\w*])",
    "(?<![\\w_])_(?<lined>[^\\s_](?:[^_]{0,2000}?[^\\s_])?)_(?![\\w_])",
    "\\[(?<label>[^\\[\\]\\n]{1,500})\\]\\((?<target>https?:\\/\\/[^\\s()]{1,2000})\\)",
    "\\[(?<mark>\\d{1,3})\\]",
    "(?<bare>https?:\\/\\/[^\\s<>()\\[\\]\"']{1,2000}[^\\s<>()\\[\\]\"'.,;:!?])",
  ].join("|"),
  "g",
);
const DEEPEST = 3;

export function inline(text, cite, depth = 0) {
  const made = [];
  let end = 0;
  for (const found of text.matchAll(PATTERN)) {
    const node = depth > DEEPEST ? null : piece(found.groups, cite, depth);
    if (!node) continue;
    made.push(text.slice(end, found.index), node);
    end = found.index + found[0].length;
  }
  made.push(text.slice(end));
  return made.filter((each) => each !== "");
}

function piece(groups, cite, depth) {
  if (groups.code) return element("code", "", groups.code);
  if (groups.strong) return wrapped("strong", groups.strong, cite, depth);
  const soft = groups.starred ?? groups.lined;
  if (soft) return wrapped("em", soft, cite, depth);
  if (groups.target) return link(groups.label, groups.target);
  if (groups.bare) return link(groups.bare, groups.bare);
  return cite(Number(groups.mark));
}

function wrapped(name, text, cite, depth) {
  const made = element(name);
  made.append(...inline(text, cite, depth + 1));
  return made;
}

export function link(text, target) {
  const made = element("a", "", text);
  made.href = target;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}
