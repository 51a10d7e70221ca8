// What Slack's own client does to typed text before it is sent: entities, mentions of people, groups and channels.

const FIXED = /(<[@#!][^<>\s]+>)/;

// "ask @anna & <me>" → "ask <@U0ANNA> &amp; &lt;me&gt;"; with `labels` (slash commands) "<@U0ANNA|anna>".
export function encode(text, context, { labels = false } = {}) {
  return text.split(FIXED).map((part, index) => (index % 2 ? part : mentions(entities(part), context, labels))).join("");
}

const entities = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function mentions(text, context, labels) {
  return text.replace(/(^|[\s(])([@#])([\p{L}\p{N}][\p{L}\p{N}._-]*)/gu, (whole, before, sign, word) => {
    const name = word.replace(/[._-]+$/, "");
    const found = sign === "@" ? addressee(name, context, labels) : channel(name, context, labels);
    return found ? before + found + word.slice(name.length) : whole;
  });
}

function addressee(name, context, labels) {
  if (["here", "channel", "everyone"].includes(name)) return `<!${name}>`;
  const person = [...context.people.values()].find((row) => row.name.toLowerCase() === name.toLowerCase());
  if (person) return labels ? `<@${person.id}|${person.name}>` : `<@${person.id}>`;
  const group = context.groups.find((row) => row.handle === name);
  return group ? `<!subteam^${group.id}|@${group.handle}>` : null;
}

function channel(name, context, labels) {
  const found = [...context.channels.values()].find((row) => row.name === name);
  return found ? `<#${found.id}|${labels ? found.name : ""}>` : null;
}

// Back into what a person types, for editing.
export function decode(text, context) {
  return text
    .replace(/<@([^<>|]+)(?:\|[^<>]*)?>/g, (whole, id) => (context.people.has(id) ? `@${context.people.get(id).name}` : whole))
    .replace(/<#([^<>|]+)(?:\|[^<>]*)?>/g, (whole, id) => (context.channels.has(id) ? `#${context.channels.get(id).name}` : whole))
    .replace(/<!subteam\^[^<>|]+\|@?([^<>]+)>/g, "@$1")
    .replace(/<!(here|channel|everyone)(?:\|[^<>]*)?>/g, "@$1")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}
