// Slack's mrkdwn, and its emoji and dates, as DOM nodes.
import { h, link } from "/page/dom.js";

const EMOJI = Object.fromEntries(
  `pushpin 📌,rotating_light 🚨,white_check_mark ✅,heavy_check_mark ✔️,warning ⚠️,x ❌,eyes 👀,fire 🔥,
  hourglass ⌛,hourglass_flowing_sand ⏳,snowflake ❄️,ice_cube 🧊,lock 🔒,unlock 🔓,key 🔑,bell 🔔,no_bell 🔕,
  bookmark 🔖,page_facing_up 📄,memo 📝,clipboard 📋,red_circle 🔴,large_red_circle 🔴,large_orange_circle 🟠,
  large_yellow_circle 🟡,large_green_circle 🟢,large_blue_circle 🔵,white_circle ⚪,black_circle ⚫,
  large_purple_circle 🟣,question ❓,grey_question ❔,exclamation ❗,octagonal_sign 🛑,no_entry ⛔,no_entry_sign 🚫,
  tada 🎉,+1 👍,thumbsup 👍,-1 👎,thumbsdown 👎,raised_hand ✋,hand ✋,wave 👋,pray 🙏,link 🔗,mag 🔍,
  arrows_counterclockwise 🔄,arrow_right ➡️,rewind ⏪,stopwatch ⏱️,alarm_clock ⏰,clock3 🕒,calendar 📅,shield 🛡️,
  package 📦,file_folder 📁,floppy_disk 💾,chart_with_upwards_trend 📈,bar_chart 📊,bust_in_silhouette 👤,
  busts_in_silhouette 👥,telephone_receiver 📞,pager 📟,loudspeaker 📢,mega 📣,speech_balloon 💬,
  information_source ℹ️,wrench 🔧,hammer_and_wrench 🛠️,gear ⚙️,rocket 🚀,skull 💀,zap ⚡,electric_plug 🔌,
  satellite 📡,computer 💻,robot_face 🤖,heart ❤️,checkered_flag 🏁,construction 🚧,pause_button ⏸️,
  arrow_forward ▶️,black_square_for_stop ⏹️,white_large_square ⬜,bulb 💡,seedling 🌱,scales ⚖️,label 🏷️`
    .split(",")
    .map((entry) => entry.trim().split(" ")),
);

// A machine without an emoji font draws the same box for every emoji; there the short name says more.
const drawn = new Map();
function picture(glyph) {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  pen.canvas.width = pen.canvas.height = 24;
  pen.font = "20px system-ui, sans-serif";
  pen.textBaseline = "top";
  pen.fillText(glyph, 0, 0);
  return pen.canvas.toDataURL();
}
function drawable(glyph) {
  if (!drawn.size) drawn.set("missing", picture("\u{1fffe}"));
  if (!drawn.has(glyph)) drawn.set(glyph, picture(glyph) !== drawn.get("missing"));
  return drawn.get(glyph);
}

// The character of an emoji's short name, or null when there is none or it cannot be drawn here.
export function emoji(name) {
  const glyph = EMOJI[name.split("::")[0]];
  return glyph && drawable(glyph) ? glyph : null;
}
export const emojiText = (text) => text.replace(/:([a-z0-9_+-]+):/g, (whole, name) => emoji(name) ?? whole);
const emojiNode = (name) => emoji(name) ?? h("span", { class: "emoji-name" }, `:${name}:`);

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };
const plain = (text) => text.replace(/&(?:lt|gt|amp);/g, (entity) => ENTITIES[entity]);

// context: { people: Map(id → person), channels: Map(id → channel), tz, groups }
export function mrkdwn(text, context) {
  const out = [];
  for (const [index, part] of String(text).split("```").entries()) {
    if (index % 2) out.push(h("pre", {}, plain(part.replace(/^\n/, "").replace(/\n$/, ""))));
    else if (part) out.push(...paragraphs(part, context));
  }
  return out;
}

function paragraphs(text, context) {
  const out = [];
  let quote = [];
  const flush = () => {
    if (quote.length) out.push(h("blockquote", {}, lines(quote, context)));
    quote = [];
  };
  let run = [];
  const end = () => {
    if (run.length) out.push(...lines(run, context));
    run = [];
  };
  for (const line of text.split("\n")) {
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(line);
    if (quoted) {
      end();
      quote.push(quoted[1]);
    } else {
      flush();
      run.push(line);
    }
  }
  flush();
  end();
  return out;
}

const lines = (all, context) => all.flatMap((line, i) => (i ? [h("br"), ...inline(line, context)] : inline(line, context)));

const TOKEN =
  /`([^`\n]+)`|<([^<>\n]+)>|:([a-z0-9_+-]+(?:::skin-tone-[2-6])?):|(?<![\p{L}\p{N}*])\*(?!\s)([^*\n]+?)(?<!\s)\*(?![\p{L}\p{N}*])|(?<![\p{L}\p{N}_])_(?!\s)([^_\n]+?)(?<!\s)_(?![\p{L}\p{N}_])|(?<![\p{L}\p{N}~])~(?!\s)([^~\n]+?)(?<!\s)~(?![\p{L}\p{N}~])/gu;

function inline(text, context) {
  const out = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > at) out.push(plain(text.slice(at, match.index)));
    at = match.index + match[0].length;
    const [whole, code, angled, name, bold, italic, struck] = match;
    if (code !== undefined) out.push(h("code", {}, plain(code)));
    else if (angled !== undefined) out.push(reference(angled, context, whole));
    else if (name !== undefined) out.push(emojiNode(name));
    else if (bold !== undefined) out.push(h("strong", {}, inline(bold, context)));
    else if (italic !== undefined) out.push(h("em", {}, inline(italic, context)));
    else out.push(h("s", {}, inline(struck, context)));
  }
  if (at < text.length) out.push(plain(text.slice(at)));
  return out;
}

function reference(inner, context, whole) {
  const bar = inner.indexOf("|");
  const [target, label] = bar < 0 ? [inner, null] : [inner.slice(0, bar), plain(inner.slice(bar + 1))];
  if (target.startsWith("@")) return mention(target.slice(1), label, context);
  if (target.startsWith("#")) return h("span", { class: "mention" }, `#${context.channels.get(target.slice(1))?.name ?? label ?? target.slice(1)}`);
  if (target.startsWith("!date^")) return date(target, label, context);
  if (target.startsWith("!subteam^")) return h("span", { class: "mention" }, label ?? `@${groupName(target.slice(9), context)}`);
  if (target.startsWith("!")) return h("span", { class: "mention loud" }, `@${target.slice(1)}`);
  if (/^(https?:|mailto:)/i.test(target)) return link(plain(target), label ?? plain(target));
  return plain(whole);
}

const groupName = (id, context) => context.groups.find((group) => group.id === id)?.handle ?? id;

export const mention = (id, label, context) =>
  h("span", { class: id === context.user ? "mention me" : "mention" }, `@${context.people.get(id)?.real_name ?? label ?? id}`);

function date(target, label, context) {
  const [, stamp, format = "{date} {time}", href] = target.split("^");
  const when = new Date(Number(stamp) * 1000);
  if (Number.isNaN(when.getTime())) return label ?? "";
  const text = format.replace(/\{(\w+)\}/g, (whole, token) => dateToken(when, token, context.tz) ?? whole);
  const node = h("time", { datetime: when.toISOString(), title: label ?? "" }, text);
  return href ? link(href, node) : node;
}

export const shown = (when, tz, options) => new Intl.DateTimeFormat("en-GB", { timeZone: tz, ...options }).format(when);

function dateToken(when, token, tz) {
  const day = (options) => shown(when, tz, options);
  const pretty = (options) => {
    const today = shown(new Date(), tz, { dateStyle: "short" });
    return shown(when, tz, { dateStyle: "short" }) === today ? "today" : day(options);
  };
  const full = { day: "numeric", month: "long", year: "numeric" };
  const short = { day: "numeric", month: "short", year: "numeric" };
  const long = { weekday: "long", ...full };
  switch (token) {
    case "date_num": return shown(when, tz, { year: "numeric", month: "2-digit", day: "2-digit" }).split("/").reverse().join("-");
    case "date": return day(full);
    case "date_short": return day(short);
    case "date_long": return day(long);
    case "date_pretty": return pretty(full);
    case "date_short_pretty": return pretty(short);
    case "date_long_pretty": return pretty(long);
    case "time": return day({ hour: "2-digit", minute: "2-digit" });
    case "time_secs": return day({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
    case "ago": return ago(when);
    default: return null;
  }
}

function ago(when) {
  const seconds = Math.round((when.getTime() - Date.now()) / 1000);
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, s]) => Math.abs(seconds) >= s) ?? ["second", 1];
  return format.format(Math.round(seconds / size), unit);
}

export function textObject(object, context) {
  if (!object) return [];
  if (object.type === "mrkdwn") return mrkdwn(object.text, context);
  return emojiText(object.text).split("\n").flatMap((line, index) => (index ? [h("br"), line] : [line]));
}
