// The page: where one is (#channel/person in the address), what is there, and what one does. Live by /practice/events.
import { Composer } from "/page/compose.js";
import { h, keyed, post } from "/page/dom.js";
import { encode } from "/page/encode.js";
import { messageNode } from "/page/messages.js";
import { Modal, asked, confirmed } from "/page/modal.js";
import { emojiText, mrkdwn } from "/page/mrkdwn.js";
import { HOME, drawSide, label, readKey } from "/page/places.js";
import { drawBookmarks, drawHome, drawRoomMenu, drawShortcuts, drawTabs } from "/page/room.js";

const $ = (id) => document.getElementById(id);
const page = { state: null, user: "", place: "", thread: null, context: null, member: false, archived: false, editing: null, replies: new Map() };

const modal = new Modal($("modal"), {
  press: (where, element, block, given, undo) => page.press(where, element, block, given, undo),
  suggest: (where, element, block, value) => page.suggest(where, element, block, value),
  submit: async (view_id, values) => {
    const answer = await post("submit", { user: page.user, view_id, values });
    if (answer.errors && Object.keys(answer.errors).length) say("The form was not taken; see the marked fields.");
    else tell(answer, "Sent");
    queueMicrotask(refresh);
    return answer;
  },
  close: (everything) => post("close", { user: page.user, everything }).then(refresh),
});

// ---- where one is

function readAddress() {
  const [place, user] = decodeURIComponent(location.hash.slice(1)).split("/");
  return { place: place ?? "", user: user ?? "" };
}

function go(place, user = page.user) {
  const address = `#${place}/${user}`;
  if (location.hash !== address) location.hash = address;
  else arrive();
}

function arrive() {
  const wanted = readAddress();
  const moved = wanted.place !== page.place || (wanted.user && wanted.user !== page.user);
  page.place = wanted.place || page.place;
  page.user = wanted.user || page.user;
  if (moved) {
    page.thread = null;
    page.editing = null;
    $("messages").replaceChildren();
    $("pinned-list").replaceChildren();
    say("");
    if (document.body.classList.contains("side-open")) $("side-open").focus();
    closeSide();
    if (page.place === HOME) post("home", { user: page.user });
  }
  refresh();
}

// ---- reading

let reading = false;
let again = false;

async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    do {
      again = false;
      const query = page.place && page.place !== HOME ? `?channel=${encodeURIComponent(page.place)}` : "?channel=none";
      const answer = await fetch(`/practice/state${query}`);
      page.state = await answer.json();
      settle();
      if (!again) draw();
    } while (again);
  } finally {
    reading = false;
  }
}

function settle() {
  const { state } = page;
  const humans = state.people.filter((person) => !person.is_bot);
  if (!humans.some((person) => person.id === page.user)) page.user = humans[0]?.id ?? "";
  if (page.place !== HOME && !state.channels.some((channel) => channel.id === page.place)) {
    const first = state.channels.find((channel) => channel.name === "incidents" && channel.members.includes(page.user));
    page.place = (first ?? state.channels.find((channel) => channel.members.includes(page.user)))?.id ?? HOME;
    history.replaceState(null, "", `#${page.place}/${page.user}`);
    again = true;
  }
  const person = state.people.find((row) => row.id === page.user);
  page.context = {
    people: new Map(state.people.map((row) => [row.id, row])),
    channels: new Map(state.channels.map((row) => [row.id, row])),
    groups: state.usergroups,
    tz: person?.tz ?? "UTC",
    user: page.user,
  };
}

// ---- drawing

function draw() {
  drawSide(page, go);
  const channel = page.context.channels.get(page.place);
  page.member = Boolean(channel?.members.includes(page.user));
  page.archived = Boolean(channel?.archived);
  $("home").hidden = page.place !== HOME;
  for (const id of ["messages", "compose"]) $(id).hidden = page.place === HOME;
  drawTabs(channel, page);
  if (page.place === HOME) drawHome(page);
  else drawChannel(channel);
  modal.show(page.state.views[page.user], page.context);
}

function drawChannel(channel) {
  if (!channel) return;
  sessionStorage.setItem(readKey(channel, page), channel.last_ts ?? "0");
  const direct = channel.kind === "im" || channel.kind === "mpim";
  $("room-name").textContent = direct ? label(channel, page) : `#${channel.name}`;
  $("room-topic").replaceChildren(...mrkdwn(channel.topic, page.context));
  $("room-members").textContent = `${channel.members.length} ${channel.members.length === 1 ? "member" : "members"}${channel.shared ? " · shared with another workspace" : ""}`;
  document.title = `${$("room-name").textContent} · Practice workspace`;
  drawBookmarks(channel);
  drawRoomMenu(channel, page, say);
  const all = channel.messages.filter((m) => !m.ephemeral_to || m.ephemeral_to === page.user);
  page.replies = new Map();
  for (const m of all) if (m.thread_ts && m.thread_ts !== m.ts && !m.ephemeral_to) page.replies.set(m.thread_ts, (page.replies.get(m.thread_ts) ?? 0) + 1);
  drawPins(channel, all);
  const flow = all.filter((m) => !m.thread_ts || m.thread_ts === m.ts || m.broadcast);
  drawMessages($("messages"), flow, {});
  if (!flow.length) $("messages").append(h("p", { class: "empty", "data-key": "empty" }, "Nothing here yet. Type a message, or /incident help."));
  drawThread(all);
  drawComposer(channel);
}

const signed = (m, more) => JSON.stringify([m, page.user, page.member, page.archived, page.editing === m.ts, page.state.shortcuts, page.replies.get(m.ts) ?? 0, m.files.map((id) => page.state.files[id]?.title), more, page.state.people.length]);

function drawMessages(box, list, options) {
  const bottom = box.scrollHeight - box.scrollTop - box.clientHeight < 60 || !box.children.length;
  keyed(box, list.map((m) => ({ key: m.ts, signature: signed(m), row: m })), (m) => messageNode(m, page, options));
  if (!bottom) return;
  box.scrollTop = box.scrollHeight;
  for (const image of box.querySelectorAll("img")) {
    if (!image.complete) image.addEventListener("load", () => { box.scrollTop = box.scrollHeight; }, { once: true });
  }
}

function drawPins(channel, all) {
  const pins = channel.pins.map((ts) => all.find((m) => m.ts === ts)).filter(Boolean);
  $("pinned").hidden = !pins.length;
  $("pinned-title").textContent = emojiText(pins.map((m) => m.text).join(" · ")).slice(0, 120);
  keyed($("pinned-list"), pins.map((m) => ({ key: m.ts, signature: signed(m), row: m })), (m) => messageNode(m, page, { pinned: true }));
}

function drawThread(all) {
  const thread = all.filter((m) => m.ts === page.thread || m.thread_ts === page.thread);
  const open = Boolean(page.thread && thread.length);
  $("thread").hidden = !open;
  document.body.classList.toggle("threaded", open);
  if (open) drawMessages($("thread-list"), thread, { inThread: true });
}

function drawComposer(channel) {
  const box = $("composer");
  const archived = channel.archived;
  box.disabled = archived || !page.member;
  $("compose").querySelector(".attach").disabled = box.disabled;
  $("compose").hidden = archived;
  $("thread-compose").hidden = archived || !page.member;
  $("archived").hidden = !archived;
  $("archived").textContent = archived ? `#${channel.name} is archived: it can be read, nobody can write here.` : "";
  drawShortcuts(box.disabled, page, globally);
  $("compose").querySelector("[type=submit]").textContent = page.member || archived ? "Send" : "Join";
  const name = $("room-name").textContent;
  box.placeholder = archived ? "This channel is archived" : page.member ? `Message ${name}, or /incident help` : `Join ${name} to write here`;
  $("composer-label").textContent = `Message ${name}`;
}

async function globally(callback_id) {
  say("…");
  tell(await post("shortcut", { user: page.user, callback_id }), "Sent");
  refresh();
}

// ---- doing

page.press = async (where, element, block, given, undo) => {
  if (element.confirm && !(await confirmed($("confirm"), element.confirm, page.context))) {
    undo?.();
    return;
  }
  say("…");
  const body = { user: page.user, action_id: element.action_id, block_id: block.block_id, ...where };
  if (Array.isArray(given)) body.selected_options = given;
  else if (given !== undefined) body.value = given;
  tell(await post("press", body), "Done");
  refresh();
};

page.suggest = (where, element, block, value) =>
  post("options", { user: page.user, action_id: element.action_id, block_id: block.block_id, value, ...where });

page.edit = (ts) => {
  const before = page.editing;
  page.editing = ts;
  draw();
  if (!ts) document.querySelector(`[data-ts="${CSS.escape(before ?? "")}"] [data-focus="more"]`)?.focus();
};

page.saveEdit = async (message, text) => {
  const answer = await post("edit", { user: page.user, channel: message.channel, ts: message.ts, text });
  if (!answer.ok) {
    say(answer.error === "no_text" ? "A message cannot be empty; delete it instead." : answer.error);
    return;
  }
  await refresh();
  page.edit(null);
};

page.remove = async (message) => {
  const text = (value) => ({ type: "plain_text", text: value });
  const sure = { title: text("Delete message"), text: text("Delete this message for everybody? This cannot be undone."), confirm: text("Delete"), deny: text("Cancel"), style: "danger" };
  if (!(await confirmed($("confirm"), sure, page.context))) return;
  const answer = await post("delete", { user: page.user, channel: message.channel, ts: message.ts });
  if (!answer.ok) say(answer.error);
};

page.copyLink = async (message) => {
  const url = `${location.origin}/archives/${message.channel}/p${message.ts.replace(".", "")}`;
  try {
    await navigator.clipboard.writeText(url);
    say("Link copied");
  } catch {
    say(url);
  }
};

page.react = async (message, name, remove) => {
  const answer = await post("react", { user: page.user, channel: message.channel, ts: message.ts, name, remove });
  if (!answer.ok) say(answer.error);
};

page.openThread = (ts) => {
  page.thread = ts;
  draw();
  $("thread-composer").focus();
};

page.shortcut = async (message, callback_id) => {
  tell(await post("shortcut", { user: page.user, channel: message.channel, ts: message.ts, callback_id }), "Sent");
};

// Send what stands in a field; resolves to false when it was not taken, and what was typed comes back.
async function send(text, files, thread_ts) {
  if (!thread_ts && !page.member) {
    await post("join", { user: page.user, channel: page.place });
    return true;
  }
  const where = { user: page.user, channel: page.place };
  if (files.length) return sent(await post("upload", { ...where, files, text: encode(text, page.context), thread_ts }));
  if (!text) return true;
  if (!text.startsWith("/")) return sent(await post("say", { ...where, text: encode(text, page.context), thread_ts }));
  const word = text.split(/\s/)[0];
  if (thread_ts) {
    say(`${word} is not supported in threads. Sorry!`);
    return false;
  }
  say(`${word} …`);
  const answer = await post("command", { ...where, text: encode(text, page.context, { labels: true }) });
  tell(answer, `${word} acknowledged`);
  return answer.ack !== undefined;
}

function sent(answer) {
  say(answer.ok ? "" : answer.error);
  return answer.ok;
}

const say = (text) => { $("status").textContent = text; };

function tell(answer, done) {
  if (answer.ack?.ok) say(`${done} in ${answer.ack.ms} ms`);
  else if (answer.ack === null && answer.saw?.length) say(answer.saw[0].text);
  else say(answer.ack ? `The bot did not answer: ${answer.ack.error}` : answer.error ?? "");
}

const openSide = () => { document.body.classList.add("side-open"); $("side-close").focus(); };
const closeSide = () => document.body.classList.remove("side-open");

// ArrowUp in the empty field edits one's last message.
function editLast() {
  const own = page.context.channels.get(page.place)?.messages.filter((m) => m.user === page.user && !m.ephemeral_to && (!m.subtype || m.subtype === "file_share") && !m.thread_ts);
  if (!own?.length || page.archived) return false;
  page.edit(own.at(-1).ts);
  return true;
}

async function openDirect() {
  const answer = await post("home", { user: page.user, tab: "messages" });
  if (answer.ok) go(answer.channel);
}

async function newChannel() {
  const name = await asked($("confirm"), "New channel", "Name: lower-case letters, digits, - and _");
  if (!name) return;
  const answer = await post("create", { user: page.user, name });
  if (answer.ok) go(answer.channel);
  else say(answer.error);
}

function listen() {
  new Composer($("compose"), { say, send, up: editLast });
  new Composer($("thread-compose"), { say, send: (text, files) => send(text, files, page.thread) });
  $("tab-home").addEventListener("click", () => go(HOME));
  $("tab-messages").addEventListener("click", openDirect);
  $("new-channel").addEventListener("click", newChannel);
  $("act-as").addEventListener("change", () => go(page.place, $("act-as").value));
  $("thread-close").addEventListener("click", () => { page.thread = null; draw(); $("composer").focus(); });
  $("side-open").addEventListener("click", openSide);
  $("side-close").addEventListener("click", closeSide);
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("composer").focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (document.body.classList.contains("side-open")) {
      closeSide();
      $("side-open").focus();
    } else if (page.thread) $("thread-close").click();
  });
  window.addEventListener("hashchange", arrive);
}

function follow() {
  const source = new EventSource("/practice/events");
  let timer = null;
  source.addEventListener("change", () => {
    $("link-state").textContent = "Live";
    timer ??= setTimeout(() => { timer = null; refresh(); }, 40);
  });
  source.addEventListener("error", () => { $("link-state").textContent = "Connection lost, trying again…"; });
}

listen();
arrive();
follow();
