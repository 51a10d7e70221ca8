// The page: where one is (#channel/person in the address), what is there, and what one does. Live by /practice/events.
import { blocks } from "/page/blocks.js";
import { h, keyed, link, post } from "/page/dom.js";
import { messageNode } from "/page/messages.js";
import { Modal, confirmed } from "/page/modal.js";
import { emoji, emojiText, mrkdwn } from "/page/mrkdwn.js";

const $ = (id) => document.getElementById(id);
const HOME = "home";
const page = { state: null, user: "", place: "", thread: null, context: null, member: false, replies: new Map() };

const modal = new Modal($("modal"), {
  press: (where, element, block, given, undo) => page.press(where, element, block, given, undo),
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
    $("messages").replaceChildren();
    $("pinned-list").replaceChildren();
    say("");
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
  drawSide();
  const channel = page.context.channels.get(page.place);
  page.member = Boolean(channel?.members.includes(page.user));
  $("home").hidden = page.place !== HOME;
  for (const id of ["messages", "compose"]) $(id).hidden = page.place === HOME;
  if (page.place === HOME) drawHome();
  else drawChannel(channel);
  modal.show(page.state.views[page.user], page.context);
}

function drawSide() {
  const { state } = page;
  keyed($("act-as"), state.people.filter((person) => !person.is_bot).map((person) => ({
    key: person.id, signature: `${person.real_name}${person.deleted}`, row: person,
  })), (person) => h("option", { value: person.id }, person.real_name + remark(person)));
  $("act-as").value = page.user;
  const mine = state.channels.filter((channel) => channel.members.includes(page.user));
  const rooms = (list) => list.map((channel) => ({ key: channel.id, channel }));
  const named = (channel) => ["public", "private"].includes(channel.kind);
  const sections = [
    { key: "apps", title: "App", rows: [{ key: HOME, home: true }] },
    { key: "channels", title: "Channels", rows: rooms(mine.filter((c) => named(c) && !c.archived)) },
    { key: "direct", title: "Direct messages", rows: rooms(mine.filter((c) => !named(c))) },
    { key: "others", title: "Not joined", rows: rooms(state.channels.filter((c) => c.kind === "public" && !c.archived && !c.members.includes(page.user))) },
    { key: "archived", title: "Archived", rows: rooms(mine.filter((c) => c.archived)) },
  ].filter((section) => section.rows.length);
  const signature = (row) => `${row.key}${row.key === page.place}${row.channel ? label(row.channel) + unread(row.channel) : ""}`;
  keyed($("places"), sections.map((section) => ({
    key: section.key, signature: section.rows.map(signature).join(), row: section,
  })), (section) => h("section", {}, h("h2", {}, section.title), h("ul", {}, section.rows.map((row) => h("li", {}, placeButton(row))))));
}

const remark = (person) => (person.deleted ? " (deactivated)" : person.team_id !== page.state.team.id ? " (external)" : person.is_restricted ? " (guest)" : "");

function label(channel) {
  if (channel.kind === "im" || channel.kind === "mpim") {
    const others = channel.members.filter((id) => id !== page.user).map((id) => page.context.people.get(id)?.real_name ?? id);
    return others.join(", ");
  }
  return channel.name;
}

function placeButton(row) {
  const here = row.key === page.place;
  const news = !here && row.channel && unread(row.channel);
  const text = row.home ? "Stopsign · Home" : label(row.channel);
  const sign = row.home ? "" : row.channel.kind === "public" ? "#" : row.channel.kind === "private" ? "◆" : "●";
  return h("button", {
    type: "button",
    class: `place${here ? " here" : ""}${news ? " news" : ""}`,
    "aria-current": here ? "page" : null,
    "data-testid": row.home ? "app-home" : `channel-${row.channel.name || "dm"}`,
    "data-focus": row.key,
    onclick: () => go(row.key),
  }, h("span", { class: `sign${row.home ? " octagon" : ""}`, "aria-hidden": "true" }, sign), h("span", { class: "place-name" }, text),
  news ? h("span", { class: "dot" }, h("span", { class: "hidden" }, "unread")) : null);
}

const readKey = (channel) => `read ${page.user} ${channel.id}`;
const unread = (channel) => channel.members.includes(page.user) && Number(channel.last_ts ?? 0) > Number(sessionStorage.getItem(readKey(channel)) ?? 0);

function drawChannel(channel) {
  if (!channel) return;
  sessionStorage.setItem(readKey(channel), channel.last_ts ?? "0");
  const direct = channel.kind === "im" || channel.kind === "mpim";
  $("room-name").textContent = direct ? label(channel) : `#${channel.name}`;
  $("room-topic").replaceChildren(...mrkdwn(channel.topic, page.context));
  $("room-members").textContent = `${channel.members.length} ${channel.members.length === 1 ? "member" : "members"}${channel.shared ? " · shared with another workspace" : ""}`;
  document.title = `${$("room-name").textContent} · Practice workspace`;
  drawBookmarks(channel);
  const all = channel.messages.filter((m) => !m.ephemeral_to || m.ephemeral_to === page.user);
  page.replies = new Map();
  for (const m of all) if (m.thread_ts && m.thread_ts !== m.ts && !m.ephemeral_to) page.replies.set(m.thread_ts, (page.replies.get(m.thread_ts) ?? 0) + 1);
  drawPins(channel, all);
  const flow = all.filter((m) => !m.thread_ts || m.thread_ts === m.ts);
  drawMessages($("messages"), flow, {});
  if (!flow.length) $("messages").append(h("p", { class: "empty", "data-key": "empty" }, "Nothing here yet. Type a message, or /incident help."));
  drawThread(all);
  drawComposer(channel);
}

const signed = (m, more) => JSON.stringify([m, page.user, page.member, page.replies.get(m.ts) ?? 0, m.files.map((id) => page.state.files[id]?.title), more, page.state.people.length]);

function drawMessages(box, list, options) {
  const bottom = box.scrollHeight - box.scrollTop - box.clientHeight < 60 || !box.children.length;
  keyed(box, list.map((m) => ({ key: m.ts, signature: signed(m), row: m })), (m) => messageNode(m, page, options));
  if (bottom) box.scrollTop = box.scrollHeight;
}

function drawBookmarks(channel) {
  $("bookmarks").hidden = !channel.bookmarks.length;
  keyed($("bookmarks"), channel.bookmarks.map((mark) => ({ key: mark.id, signature: JSON.stringify(mark), row: mark })),
    (mark) => h("span", { class: "bookmark" }, link(mark.link, [emoji(mark.emoji.replaceAll(":", "")), mark.title].filter(Boolean).join(" "))));
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
  $("compose").querySelector("button").textContent = page.member || archived ? "Send" : "Join";
  $("compose").querySelector("button").disabled = archived;
  const name = $("room-name").textContent;
  box.placeholder = archived ? "This channel is archived" : page.member ? `Message ${name}, or /incident help` : `Join ${name} to write here`;
  $("composer-label").textContent = `Message ${name}`;
}

function drawHome() {
  $("room-name").textContent = "Stopsign";
  $("room-topic").textContent = "App Home";
  $("room-members").textContent = "";
  document.title = "Stopsign · Practice workspace";
  for (const id of ["bookmarks", "pinned", "thread"]) $(id).hidden = true;
  const view = page.state.homes[page.user];
  const row = { key: view?.id ?? "none", signature: `${view?.hash}${page.user}`, row: view };
  keyed($("home"), [row], (shown) => h("div", { class: "home-view" }, shown ? blocks(shown.blocks, {
    context: page.context,
    press: (element, block, given, undo) => page.press({ view_id: shown.id }, element, block, given, undo),
  }) : h("p", { class: "empty" }, "The app has not published its home tab yet.")));
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

async function send(box, thread_ts) {
  const text = box.value.trim();
  if (!text) return;
  box.value = "";
  grow(box);
  if (text.startsWith("/") && !thread_ts) {
    say(`${text.split(" ")[0]} …`);
    const answer = await post("command", { user: page.user, channel: page.place, text });
    tell(answer, `${text.split(" ")[0]} acknowledged`);
    if (answer.ack === undefined) box.value = text;
  } else {
    const answer = await post("say", { user: page.user, channel: page.place, text, thread_ts });
    if (!answer.ok) say(answer.error);
  }
}

const say = (text) => { $("status").textContent = text; };

function tell(answer, done) {
  if (answer.ack?.ok) say(`${done} in ${answer.ack.ms} ms`);
  else say(answer.ack ? `The bot did not answer: ${answer.ack.error}` : answer.error ?? "");
}

const grow = (box) => {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, 180)}px`;
};

const openSide = () => { document.body.classList.add("side-open"); $("side-close").focus(); };
const closeSide = () => document.body.classList.remove("side-open");

function listen() {
  for (const [form, box, thread] of [["compose", "composer", false], ["thread-compose", "thread-composer", true]]) {
    $(form).addEventListener("submit", (event) => {
      event.preventDefault();
      if (!thread && !page.member) post("join", { user: page.user, channel: page.place });
      else send($(box), thread ? page.thread : undefined);
    });
    $(box).addEventListener("input", () => grow($(box)));
    $(box).addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $(form).requestSubmit();
    });
  }
  $("act-as").addEventListener("change", () => go(page.place, $("act-as").value));
  $("thread-close").addEventListener("click", () => { page.thread = null; draw(); $("composer").focus(); });
  $("side-open").addEventListener("click", openSide);
  $("side-close").addEventListener("click", closeSide);
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("composer").focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) closeSide();
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
