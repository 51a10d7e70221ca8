// Standard Markdown as the `markdown` block shows it: headings, lists, quotes, code, emphasis, links. No HTML.
import { h, link } from "/page/dom.js";
import { emojiText } from "/page/mrkdwn.js";

const MARKS = /`([^`\n]+)`|\[([^\]\n]+)\]\(([^)\s]+)\)|\*\*([^*\n]+)\*\*|~~([^~\n]+)~~|(?<![\p{L}\p{N}*_])[*_]([^*_\n]+)[*_](?![\p{L}\p{N}*_])/gu;

function inline(text) {
  const out = [];
  let at = 0;
  for (const match of text.matchAll(MARKS)) {
    if (match.index > at) out.push(emojiText(text.slice(at, match.index)));
    at = match.index + match[0].length;
    const [, code, label, href, bold, struck, italic] = match;
    if (code !== undefined) out.push(h("code", {}, code));
    else if (label !== undefined) out.push(link(href, label));
    else if (bold !== undefined) out.push(h("strong", {}, inline(bold)));
    else if (struck !== undefined) out.push(h("s", {}, inline(struck)));
    else out.push(h("em", {}, inline(italic)));
  }
  if (at < text.length) out.push(emojiText(text.slice(at)));
  return out;
}

export function markdown(text) {
  return text.split("```").flatMap((part, index) => (index % 2 ? [h("pre", {}, part.replace(/^\w*\n/, ""))] : lines(part)));
}

function lines(text) {
  const out = [];
  for (const line of text.split("\n")) {
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    const item = /^\s*(?:[-*+]|(\d+)[.)])\s+(.*)$/.exec(line);
    const quote = /^>\s?(.*)$/.exec(line);
    if (heading) out.push(h("div", { class: "md-heading", role: "heading", "aria-level": String(Math.min(6, heading[1].length + 2)) }, inline(heading[2])));
    else if (item) listItem(out, item);
    else if (quote) out.push(h("blockquote", {}, inline(quote[1])));
    else if (/^\s*([-*_])\1{2,}\s*$/.test(line)) out.push(h("hr"));
    else if (line.trim()) out.push(h("div", {}, inline(line)));
  }
  return out;
}

function listItem(out, [, number, text]) {
  const tag = number ? "OL" : "UL";
  if (out.at(-1)?.tagName !== tag) out.push(h(tag.toLowerCase(), number ? { start: Number(number) } : {}));
  out.at(-1).append(h("li", {}, inline(text)));
}
