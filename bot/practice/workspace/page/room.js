// What stands around the messages: bookmarks, the channel's menu, the shortcuts, and the app's own tabs.
import { blocks } from "/page/blocks.js";
import { h, keyed, link, post } from "/page/dom.js";
import { menu } from "/page/menu.js";
import { asked } from "/page/modal.js";
import { emoji } from "/page/mrkdwn.js";
import { HOME } from "/page/places.js";

const $ = (id) => document.getElementById(id);

export function drawBookmarks(channel) {
  $("bookmarks").hidden = !channel.bookmarks.length;
  keyed($("bookmarks"), channel.bookmarks.map((mark) => ({ key: mark.id, signature: JSON.stringify(mark), row: mark })),
    (mark) => h("span", { class: "bookmark" }, link(mark.link, [emoji(mark.emoji.replaceAll(":", "")), mark.title].filter(Boolean).join(" "))));
}

export function drawHome(page) {
  $("room-name").textContent = "Stopsign";
  $("room-topic").textContent = "App Home";
  $("room-members").textContent = "";
  document.title = "Stopsign · Practice workspace";
  for (const id of ["bookmarks", "pinned", "thread", "archived"]) $(id).hidden = true;
  $("room-menu").replaceChildren();
  const view = page.state.homes[page.user];
  const row = { key: view?.id ?? "none", signature: `${view?.hash}${page.user}`, row: view };
  keyed($("home"), [row], (shown) => h("div", { class: "home-view" }, shown ? blocks(shown.blocks, {
    context: page.context,
    picked: shown.state.values,
    press: (element, block, given, undo) => page.press({ view_id: shown.id }, element, block, given, undo),
    suggest: (element, block, value) => page.suggest({ view_id: shown.id }, element, block, value),
  }) : h("p", { class: "empty" }, "The app has not published its home tab yet.")));
}

// The app's own two tabs: its home, and the direct messages with it.
export function drawTabs(channel, page) {
  const direct = channel?.kind === "im" && channel.members.includes(page.state.bot.user_id);
  $("app-tabs").hidden = page.place !== HOME && !direct;
  $("tab-home").setAttribute("aria-current", page.place === HOME ? "page" : "false");
  $("tab-messages").setAttribute("aria-current", direct ? "page" : "false");
}

export function drawShortcuts(disabled, page, globally) {
  const rows = disabled ? [] : page.state.global_shortcuts;
  const typed = disabled ? [] : page.state.app.commands ?? [];
  keyed($("compose-menu"), rows.length + typed.length ? [{ key: "shortcuts", signature: JSON.stringify([rows, typed, page.user]), row: null }] : [],
    () => menu("Shortcuts", [
      ...rows.map((row) => ({ text: row.name, testid: `shortcut-${row.callback_id}`, act: () => globally(row.callback_id) })),
      ...typed.map((word) => ({ text: word, act: () => { $("composer").value = `${word} `; $("composer").focus(); } })),
    ], { text: emoji("zap") ?? "/", className: "icon", align: "left", focus: "shortcuts" }));
}

export function drawRoomMenu(channel, page, say) {
  const named = ["public", "private"].includes(channel.kind);
  const row = { key: "menu", signature: JSON.stringify([channel.id, channel.archived, channel.name, channel.topic, channel.members, page.user]), row: channel };
  keyed($("room-menu"), named && page.member ? [row] : [], () => {
    const act = (what, body = {}) => post(what, { user: page.user, channel: channel.id, ...body }).then((answer) => say(answer.ok ? "" : answer.error));
    const ask = async (title, field, key, value) => {
      const given = await asked($("confirm"), title, field, value);
      if (given !== null) act("change", { [key]: given });
    };
    const app = channel.members.includes(page.state.bot.user_id);
    return menu("About this channel", channel.archived ? [{ text: "Unarchive", act: () => act("archive", { undo: true }) }] : [
      { text: "Set the topic…", act: () => ask("Topic", "What is this channel about now?", "topic", channel.topic) },
      { text: "Rename…", act: () => ask("Rename", "Lower-case letters, digits, - and _", "name", channel.name) },
      app ? null : { text: "Invite the app", act: () => act("invite") },
      { text: "Leave", act: () => act("leave") },
      { text: "Archive", danger: true, act: () => act("archive") },
    ], { className: "icon", focus: "room-menu" });
  });
}
