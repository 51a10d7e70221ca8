// The list at the side: who one is, the app, channels, direct messages; and what is unread.
import { h, keyed } from "/page/dom.js";

const $ = (id) => document.getElementById(id);
export const HOME = "home";

export function drawSide(page, go) {
  const { state } = page;
  keyed($("act-as"), state.people.filter((person) => !person.is_bot).map((person) => ({
    key: person.id, signature: `${person.real_name}${person.deleted}`, row: person,
  })), (person) => h("option", { value: person.id }, person.real_name + remark(person, page)));
  $("act-as").value = page.user;
  const mine = state.channels.filter((channel) => channel.members.includes(page.user));
  const rooms = (list) => list.map((channel) => ({ key: channel.id, channel }));
  const named = (channel) => ["public", "private"].includes(channel.kind);
  const sections = [
    { key: "apps", title: "App", rows: [{ key: HOME, home: true }] },
    { key: "channels", title: "Channels", rows: rooms(mine.filter((c) => named(c) && !c.archived)) },
    { key: "direct", title: "Direct messages", rows: rooms(mine.filter((c) => !named(c))) },
    { key: "others", title: "Not joined", rows: rooms(state.channels.filter((c) => c.kind === "public" && !c.archived && !c.members.includes(page.user))) },
    { key: "archived", title: "Archived", rows: rooms(state.channels.filter((c) => c.archived && (c.kind === "public" || c.members.includes(page.user)))) },
  ].filter((section) => section.rows.length);
  const signature = (row) => `${row.key}${row.key === page.place}${row.channel ? label(row.channel, page) + unread(row.channel, page) : ""}`;
  keyed($("places"), sections.map((section) => ({
    key: section.key, signature: section.rows.map(signature).join(), row: section,
  })), (section) => h("section", {}, h("h2", {}, section.title), h("ul", {}, section.rows.map((row) => h("li", {}, placeButton(row, page, go))))));
}

const remark = (person, page) => (person.deleted ? " (deactivated)" : person.team_id !== page.state.team.id ? " (external)" : person.is_restricted ? " (guest)" : "");

export function label(channel, page) {
  if (channel.kind === "im" || channel.kind === "mpim") {
    const others = channel.members.filter((id) => id !== page.user).map((id) => page.context.people.get(id)?.real_name ?? id);
    return others.join(", ");
  }
  return channel.name;
}

function placeButton(row, page, go) {
  const here = row.key === page.place;
  const news = !here && row.channel && unread(row.channel, page);
  const text = row.home ? "Stopsign · Home" : label(row.channel, page);
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

export const readKey = (channel, page) => `read ${page.user} ${channel.id}`;
export const unread = (channel, page) => !channel.archived && channel.members.includes(page.user) && Number(channel.last_ts ?? 0) > Number(sessionStorage.getItem(readKey(channel, page)) ?? 0);

