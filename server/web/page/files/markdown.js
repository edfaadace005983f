// Markdown as elements: headings, paragraphs, lists, quotes, tables, code. Text is never read as HTML.

import { copyButton, element } from "./elements.js";
import { inline } from "./inline_markdown.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const ROW = /^\s*\|?(.*\|.*?)\|?\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const DEEPEST = 6;

// `cite(number)` makes the element of a mark such as [1], or nothing where there is no such source.
export function render(text, cite = () => null) {
  const made = document.createDocumentFragment();
  made.append(...blocks(text.replace(/\r\n?/g, "\n").split("\n"), cite, 0));
  return made;
}

function blocks(lines, cite, depth) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const [block, next] = block_at(lines, at, cite, depth);
    if (block) made.push(block);
    at = next;
  }
  return made;
}

function block_at(lines, at, cite, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  if (FENCE.test(line)) return code(lines, at);
  if (HEADING.test(line)) return [heading(line, cite), at + 1];
  if (RULE.test(line)) return [element("hr"), at + 1];
  if (depth < DEEPEST && QUOTE.test(line)) return quote(lines, at, cite, depth);
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, cite, depth);
  if (ROW.test(line) && TABLE_RULE.test(lines[at + 1] ?? "") && line.includes("|")) return table(lines, at, cite);
  return paragraph(lines, at, cite);
}

function code(lines, at) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const body = [];
  let next = at + 1;
  while (next < lines.length && !lines[next].trim().startsWith(fence)) body.push(lines[next++]);
  const text = body.join("\n");
  const box = element("div", "code");
  const head = element("div", "code-head");
  head.append(element("span", "", language), copyButton(() => text));
  const pre = element("pre");
  pre.tabIndex = 0; // a long line is scrolled by keyboard, too
  pre.dir = "ltr";
  pre.append(element("code", "", text));
  box.append(head, pre);
  return [box, next + 1];
}

function heading(line, cite) {
  const [, marks, text] = HEADING.exec(line);
  const made = element(`h${Math.min(6, marks.length + 3)}`); // the page's own headings stand above
  made.dir = "auto";
  made.append(...inline(text, cite));
  return made;
}

function quote(lines, at, cite, depth) {
  const inner = [];
  let next = at;
  while (next < lines.length && QUOTE.test(lines[next])) inner.push(QUOTE.exec(lines[next++])[1]);
  const made = element("blockquote");
  made.dir = "auto";
  made.append(...blocks(inner, cite, depth + 1));
  return [made, next];
}

function list(lines, at, cite, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const made = element(ordered ? "ol" : "ul");
  if (ordered) made.start = parseInt(mark, 10);
  let next = at;
  while (next < lines.length) {
    const found = ITEM.exec(lines[next]);
    if (!found || found[1].length !== indent.length || /\d/.test(found[2]) !== ordered) break;
    const inner = [found[3]];
    next += 1;
    while (next < lines.length && belongs(lines, next, indent.length)) inner.push(lines[next++].slice(indent.length + 2));
    const item = element("li");
    item.dir = "auto";
    item.append(...tight(blocks(inner, cite, depth + 1)));
    made.append(item);
  }
  return [made, next];
}

function belongs(lines, at, indent) {
  const line = lines[at];
  if (line.trim()) return line.search(/\S/) > indent;
  const after = lines[at + 1] ?? "";
  return after.trim() !== "" && after.search(/\S/) > indent;
}

// A paragraph alone in a list item needs no element of its own.
function tight(made) {
  return made.flatMap((each, index) => (index === 0 && each.tagName === "P" ? [...each.childNodes] : [each]));
}

function table(lines, at, cite) {
  const made = element("table");
  made.append(element("thead"), element("tbody"));
  made.tHead.append(row(lines[at], "th", cite));
  let next = at + 2;
  while (next < lines.length && lines[next].includes("|")) made.tBodies[0].append(row(lines[next++], "td", cite));
  const box = element("div", "table");
  box.tabIndex = 0;
  box.append(made);
  return [box, next];
}

function row(line, kind, cite) {
  const made = element("tr");
  for (const text of line.trim().replace(/^\||\|$/g, "").split("|")) {
    const cell = element(kind);
    cell.dir = "auto";
    cell.append(...inline(text.trim(), cite));
    made.append(cell);
  }
  return made;
}

function paragraph(lines, at, cite) {
  const inner = [lines[at]];
  let next = at + 1;
  while (next < lines.length && continues(lines[next])) inner.push(lines[next++]);
  const made = element("p");
  made.dir = "auto";
  made.append(...inline(inner.join("\n").trim(), cite));
  return [made, next];
}

function continues(line) {
  return line.trim() !== "" && ![FENCE, HEADING, RULE, QUOTE, ITEM].some((each) => each.test(line));
}
