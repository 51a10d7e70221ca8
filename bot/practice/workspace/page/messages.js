// One message: who, when, what, its files and reactions, and what can be done with it.
import { blocks } from "/page/blocks.js";
import { h } from "/page/dom.js";
import { decode, encode } from "/page/encode.js";
import { menu } from "/page/menu.js";
import { emoji, mrkdwn, shown } from "/page/mrkdwn.js";

const REMARKS = ["join", "leave", "topic", "purpose", "name", "archive", "unarchive"].map((what) => `channel_${what}`);
const QUICK = ["pushpin", "eyes", "white_check_mark", "+1", "fire", "x", "question", "tada"];

const hue = (id) => [...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 8;
const initials = (name) => name.split(/\s+/).map((word) => word[0]).slice(0, 2).join("").toUpperCase();

function who(message, page) {
  if (message.user === "USLACKBOT") return { id: "USLACKBOT", real_name: "Slackbot", is_bot: true };
  const author = page.context.people.get(message.user) ?? { id: message.user, real_name: message.user };
  return message.username ? { ...author, id: `${author.id} as ${message.username}`, real_name: message.username } : author;
}

// page: { context, state, user, member, archived, editing, press, suggest, react, openThread, shortcut, edit, saveEdit, remove }
export function messageNode(message, page, { inThread = false, pinned = false } = {}) {
  if (REMARKS.includes(message.subtype)) return remark(message, page);
  if (message.subtype === "tombstone") return tombstone(message, page, inThread);
  const author = who(message, page);
  const editing = page.editing === message.ts && !pinned;
  const flags = [message.ephemeral_to ? "ephemeral" : "", author.id === "USLACKBOT" ? "from-slack" : ""].join(" ");
  return h("article", { class: `message ${flags}`, "data-testid": pinned ? "pinned-message" : "message", "data-ts": message.ts, "data-ephemeral": message.ephemeral_to ? "true" : null },
    pinned ? null : avatar(author, message, page),
    h("div", { class: "message-main" },
      message.ephemeral_to ? h("p", { class: "only-you" }, "Only visible to you") : null,
      pinned ? null : byline(message, author, page),
      message.broadcast && !inThread ? h("p", { class: "only-you" }, "replied to a thread") : null,
      editing ? editor(message, page) : body(message, page),
      message.files.map((id) => file(page.state.files[id])),
      pinned ? null : reactions(message, page),
      inThread || pinned ? null : replies(message, page)),
    pinned || message.ephemeral_to || editing ? null : tools(message, page, inThread));
}

// What Slack itself writes into a channel: one quiet line.
function remark(message, page) {
  const when = new Date(Number(message.ts) * 1000);
  return h("article", { class: "message remark", "data-testid": "remark", "data-ts": message.ts },
    h("span", { class: "text" }, mrkdwn(message.text, page.context)), " ",
    h("time", { datetime: when.toISOString() }, shown(when, page.context.tz, { hour: "2-digit", minute: "2-digit" })));
}

function tombstone(message, page, inThread) {
  return h("article", { class: "message remark", "data-testid": "message", "data-ts": message.ts }, h("span", { class: "text" }, message.text), inThread ? null : replies(message, page));
}

function editor(message, page) {
  const box = h("textarea", { rows: "3", "aria-label": "Edit the message", "data-testid": "edit-box", "data-focus": "edit-box" }, decode(message.text, page.context));
  const save = () => page.saveEdit(message, encode(box.value.trim(), page.context));
  const form = h("form", { class: "editor" }, box, h("div", { class: "actions" },
    h("button", { type: "button", class: "button small", onclick: () => page.edit(null) }, "Cancel"),
    h("button", { type: "submit", class: "button small primary" }, "Save")));
  form.addEventListener("submit", (event) => { event.preventDefault(); save(); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); page.edit(null); }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); save(); }
  });
  queueMicrotask(() => { box.focus(); box.setSelectionRange(box.value.length, box.value.length); });
  return form;
}

const avatar = (author, message, page) =>
  h("span", { class: `avatar ${author.id === page.state.bot.user_id ? "stop" : author.is_bot ? "app" : `hue-${hue(author.id)}`}`, "aria-hidden": "true" },
    (message.icons?.emoji && emoji(message.icons.emoji.replaceAll(":", ""))) || initials(author.real_name));

function byline(message, author, page) {
  const when = new Date(Number(message.ts) * 1000);
  return h("header", { class: "byline" },
    h("strong", {}, author.real_name),
    author.is_bot ? h("span", { class: "badge" }, "APP") : null,
    author.team_id && author.team_id !== page.state.team.id ? h("span", { class: "badge outside" }, "EXTERNAL") : null,
    author.is_restricted ? h("span", { class: "badge" }, "GUEST") : null,
    h("time", { datetime: when.toISOString(), title: shown(when, page.context.tz, { dateStyle: "full", timeStyle: "long" }) },
      shown(when, page.context.tz, { hour: "2-digit", minute: "2-digit" })),
    message.edited ? h("span", { class: "edited" }, "(edited)") : null);
}

function body(message, page) {
  const desk = {
    context: page.context,
    picked: message.picked[page.user],
    disabled: !page.member,
    press: (element, block, given, undo) => page.press({ channel: message.channel, ts: message.ts }, element, block, given, undo),
    suggest: (element, block, value) => page.suggest({ channel: message.channel, ts: message.ts }, element, block, value),
  };
  const parts = message.blocks.length ? blocks(message.blocks, desk) : message.text ? [h("div", { class: "text" }, mrkdwn(message.text, page.context))] : [];
  const more = message.attachments.map((item) => attachment(item, desk, page));
  return h("div", { class: "body" }, parts, more);
}

function attachment(item, desk, page) {
  const node = h("div", { class: "attachment" },
    item.title ? h("strong", {}, item.title) : null,
    item.blocks ? blocks(item.blocks, desk) : h("div", { class: "text" }, mrkdwn(item.text ?? item.fallback ?? "", page.context)));
  if (/^#?[0-9a-f]{6}$/i.test(item.color ?? "")) node.style.setProperty("--bar", item.color.startsWith("#") ? item.color : `#${item.color}`);
  return node;
}

function file(found) {
  if (!found) return null;
  const path = (url) => new URL(url).pathname;
  if (/^image\/(png|jpeg|gif|webp)$/.test(found.mimetype)) return picture(found, path);
  const readable = /^(text\/|application\/(json|x-ndjson))/.test(found.mimetype);
  const content = h("pre", { class: "file-text", hidden: true });
  const view = h("button", { type: "button", class: "button small", "data-testid": "file-view", "aria-expanded": "false", "data-focus": `view-${found.id}` }, "View");
  view.addEventListener("click", async () => {
    if (content.hidden && !content.textContent) content.textContent = await (await fetch(path(found.url_private))).text();
    content.hidden = !content.hidden;
    view.textContent = content.hidden ? "View" : "Hide";
    view.setAttribute("aria-expanded", String(!content.hidden));
  });
  return h("div", { class: "file", "data-testid": "file" },
    h("div", { class: "file-row" },
      h("span", { class: "file-icon", "aria-hidden": "true" }, found.filetype.slice(0, 4).toUpperCase()),
      h("span", { class: "file-name" }, h("strong", {}, found.title), h("small", {}, `${found.name} · ${size(found.size)}`)),
      readable ? view : null,
      h("a", { class: "button small", href: path(found.url_private_download), download: found.name }, "Download")),
    content);
}

function picture(found, path) {
  return h("figure", { class: "block image", "data-testid": "file" },
    h("figcaption", {}, `${found.title} · ${size(found.size)} · `, h("a", { href: path(found.url_private_download), download: found.name }, "Download")),
    h("img", { class: "wide", src: path(found.url_private), alt: found.title, loading: "lazy" }));
}

const size = (bytes) => (bytes < 1024 ? `${bytes} bytes` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1048576).toFixed(1)} MB`);

function reactions(message, page) {
  const rows = Object.entries(message.reactions);
  if (!rows.length) return null;
  return h("div", { class: "reactions" }, rows.map(([name, users]) => {
    const mine = users.includes(page.user);
    const names = users.map((id) => page.context.people.get(id)?.real_name ?? id).join(", ");
    return h("button", { type: "button", class: `reaction${mine ? " mine" : ""}`, "aria-pressed": String(mine), "aria-label": `${name}: ${names}`, title: names, "data-focus": `react-${name}`,
      onclick: () => page.react(message, name, mine) }, emoji(name) ?? `:${name}:`, h("span", {}, String(users.length)));
  }));
}

function replies(message, page) {
  const count = page.replies.get(message.ts) ?? 0;
  if (!count) return null;
  return h("button", { type: "button", class: "reply-link", "data-testid": "replies", "data-focus": "replies", onclick: () => page.openThread(message.ts) }, count === 1 ? "1 reply" : `${count} replies`);
}

function tools(message, page, inThread) {
  if (!page.member || page.archived) return null;
  const mine = (name) => message.reactions[name]?.includes(page.user) ?? false;
  const react = (name) => ({ text: emoji(name) ?? `:${name}:`, label: mine(name) ? `Take your ${name} off` : `React with ${name}`, act: () => page.react(message, name, mine(name)) });
  const tool = (label, text, focus, act) => h("button", { type: "button", class: "tool", title: label, "aria-label": label, "data-focus": focus, onclick: act }, text);
  const own = message.user === page.user;
  const more = [
    inThread ? null : { text: "Reply in thread", act: () => page.openThread(message.ts) },
    { text: "Copy link", act: () => page.copyLink(message) },
    ...page.state.shortcuts.map((row) => ({ text: row.name, testid: `shortcut-${row.callback_id}`, act: () => page.shortcut(message, row.callback_id) })),
    own ? { text: "Edit", testid: "edit", act: () => page.edit(message.ts) } : null,
    own ? { text: "Delete", testid: "delete", danger: true, act: () => page.remove(message) } : null,
  ];
  const add = menu("Add a reaction", QUICK.map(react), { text: emoji("tada") ? "☺" : "React", focus: "react" });
  add.querySelector(".menu-list").classList.add("grid");
  return h("div", { class: "tools" },
    tool(mine("pushpin") ? "Take your pushpin off" : "React with a pushpin", emoji("pushpin") ?? "Pin", "pin", () => page.react(message, "pushpin", mine("pushpin"))),
    add,
    inThread ? null : tool("Reply in thread", "Reply", "thread", () => page.openThread(message.ts)),
    menu("More about this message", more, { focus: "more" }));
}
