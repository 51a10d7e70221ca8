// Interactive elements: buttons, menus, pickers and fields. Each field's node has `read()` and, in messages, acts at once.
import { readFiles } from "/page/compose.js";
import { h, safeLink } from "/page/dom.js";
import { external } from "/page/external.js";
import { emojiText } from "/page/mrkdwn.js";

const TYPED = { number_input: "text", email_text_input: "email", url_text_input: "url" };
const PICKERS = { datepicker: "date", timepicker: "time", datetimepicker: "datetime-local" };
const PICKED = { datepicker: "selected_date", timepicker: "selected_time", datetimepicker: "selected_date_time" };

export const isInput = (element) => !["button", "overflow", "image", "workflow_button"].includes(element.type);

export function control(element, block, desk, field = {}) {
  const marks = {
    id: field.id,
    "aria-describedby": field.describedby,
    "aria-invalid": field.invalid ? "true" : null,
    "data-action-id": element.action_id,
    "data-block-id": block.block_id,
    "data-focus": element.action_id,
    disabled: Boolean(desk.disabled),
  };
  const label = field.id ? null : element.placeholder?.text ?? element.action_id;
  const node = make(element, block, desk, marks, label);
  if (isInput(element)) node.dataset.field = block.block_id;
  return node;
}

function make(element, block, desk, marks, label) {
  switch (element.type) {
    case "button": case "workflow_button": return button(element, block, desk, marks);
    case "image": return picture(element, "small");
    case "overflow": return menu(element, block, desk, { ...marks, "aria-label": "More actions", class: "overflow" }, options(element), "⋯");
    case "external_select": case "multi_external_select": return external(element, block, desk, marks, label, acts(element, block));
    case "file_input": return files(element, block, desk, marks);
    case "static_select":
      return menu(element, block, desk, { ...marks, "aria-label": label }, options(element), element.placeholder?.text ?? "Choose…");
    case "users_select": return menu(element, block, desk, { ...marks, "aria-label": label }, people(desk), element.placeholder?.text ?? "Choose a person…");
    case "channels_select": case "conversations_select":
      return menu(element, block, desk, { ...marks, "aria-label": label }, channels(desk), element.placeholder?.text ?? "Choose a channel…");
    case "checkboxes": case "radio_buttons": return choices(element, block, desk, marks);
    case "multi_static_select": return choices({ ...element, type: "checkboxes", options: element.options ?? element.option_groups.flatMap((group) => group.options) }, block, desk, marks);
    case "multi_users_select": return many(element, block, desk, marks, people(desk), "initial_users", "selected_users");
    case "multi_channels_select": case "multi_conversations_select":
      return many(element, block, desk, marks, channels(desk), "initial_channels", "selected_channels");
    case "datepicker": case "timepicker": case "datetimepicker": return picker(element, block, desk, marks, label);
    default: return typed(element, block, desk, marks, label);
  }
}

function button(element, block, desk, marks) {
  const style = element.style ? ` ${element.style}` : "";
  const act = () => {
    const href = element.url ? safeLink(element.url) : null;
    if (href) window.open(href, "_blank", "noopener");
    desk.press(element, block, undefined);
  };
  return h("button", { type: "button", class: `button${style}`, "aria-label": element.accessibility_label, ...marks, onclick: act }, emojiText(element.text.text));
}

const optionRow = (option) => ({ value: option.value, text: emojiText(option.text.text), description: option.description?.text });

function options(element) {
  if (element.option_groups) return element.option_groups.map((group) => ({ group: group.label.text, rows: group.options.map(optionRow) }));
  return (element.options ?? []).map(optionRow);
}

const people = (desk) =>
  [...desk.context.people.values()].filter((person) => !person.is_bot && !person.deleted)
    .map((person) => ({ value: person.id, text: person.real_name }));
const channels = (desk) =>
  [...desk.context.channels.values()].filter((channel) => channel.name && !channel.archived)
    .map((channel) => ({ value: channel.id, text: `#${channel.name}` }));

const stateOf = (element, block, desk) => desk.picked?.[block.block_id]?.[element.action_id];

function initial(element, block, desk) {
  const state = stateOf(element, block, desk);
  if (state) return state.selected_option?.value ?? state.selected_user ?? state.selected_channel ?? state.selected_conversation ?? "";
  return element.initial_option?.value ?? element.initial_user ?? element.initial_channel ?? element.initial_conversation ?? "";
}

function menu(element, block, desk, marks, rows, placeholder) {
  const chosen = initial(element, block, desk);
  const one = (row) => h("option", { value: row.value, selected: row.value === chosen }, row.text);
  const node = h("select", { ...marks },
    h("option", { value: "", selected: !chosen }, placeholder),
    rows.map((row) => (row.group ? h("optgroup", { label: row.group }, row.rows.map(one)) : one(row))));
  node.read = () => node.value || null;
  node.addEventListener("change", () => {
    if (!node.value || (desk.form && !acts(element, block))) return;
    desk.press(element, block, node.value, () => { node.value = chosen; });
    if (element.type === "overflow") node.value = "";
  });
  return node;
}

const acts = (element, block) => block.type !== "input" || Boolean(block.dispatch_action);

function choices(element, block, desk, marks) {
  const single = element.type === "radio_buttons";
  const state = stateOf(element, block, desk);
  const before = state
    ? (state.selected_options ?? [state.selected_option]).filter(Boolean)
    : element.initial_options ?? (element.initial_option ? [element.initial_option] : []);
  const chosen = new Set(before.map((option) => option.value));
  const { id, "data-focus": focus, ...rest } = marks;
  const boxes = element.options.map((option) => h("input", {
    type: single ? "radio" : "checkbox",
    name: `${block.block_id}-${element.action_id}`,
    value: option.value,
    checked: chosen.has(option.value),
    disabled: marks.disabled,
    "data-focus": `${focus}=${option.value}`,
    "data-block-id": block.block_id,
  }));
  const rows = element.options.map((option, index) => h("label", { class: "choice" }, boxes[index],
    h("span", {}, emojiText(option.text.text), option.description ? h("small", {}, option.description.text) : null)));
  const node = h("div", { class: "choices", role: "group", ...rest }, rows);
  node.read = () => {
    const values = boxes.filter((box) => box.checked).map((box) => box.value);
    return single ? values[0] ?? null : values;
  };
  if (!desk.form || acts(element, block)) node.addEventListener("change", () => desk.press(element, block, node.read()));
  return node;
}

function many(element, block, desk, marks, rows, first, key) {
  const chosen = new Set(stateOf(element, block, desk)?.[key] ?? element[first] ?? []);
  const node = h("select", { multiple: true, size: Math.min(5, Math.max(2, rows.length)), ...marks },
    rows.map((row) => h("option", { value: row.value, selected: chosen.has(row.value) }, row.text)));
  node.read = () => [...node.selectedOptions].map((option) => option.value);
  if (!desk.form || acts(element, block)) node.addEventListener("change", () => desk.press(element, block, node.read()));
  return node;
}

function picker(element, block, desk, marks, label) {
  const kind = PICKERS[element.type];
  const stamp = kind === "datetime-local";
  const given = stateOf(element, block, desk)?.[PICKED[element.type]] ?? element.initial_date ?? element.initial_time ?? element.initial_date_time ?? "";
  const value = stamp && given ? new Date(given * 1000).toISOString().slice(0, 16) : String(given);
  const node = h("input", { type: kind, value, "aria-label": label, ...marks });
  node.read = () => (stamp ? (node.value ? Math.floor(Date.parse(`${node.value}:00Z`) / 1000) : null) : node.value || null);
  if (!desk.form || acts(element, block)) node.addEventListener("change", () => desk.press(element, block, node.read()));
  return node;
}

function typed(element, block, desk, marks, label) {
  const value = stateOf(element, block, desk)?.value ?? (typeof element.initial_value === "string" ? element.initial_value : "");
  const common = { placeholder: element.placeholder?.text, "aria-label": label, ...marks };
  const long = element.multiline || element.type === "rich_text_input";
  const node = long
    ? h("textarea", { rows: "4", ...common }, value)
    : h("input", { type: TYPED[element.type] ?? "text", inputmode: element.type === "number_input" ? "decimal" : null, value, ...common });
  if (element.max_length) node.setAttribute("maxlength", element.max_length);
  node.read = () => (element.type === "rich_text_input" ? richText(node.value) : node.value);
  if (acts(element, block)) dispatch(node, element, block, desk);
  return node;
}

// When a field tells the app what was typed: on Enter, or with every character after a short pause.
function dispatch(node, element, block, desk) {
  const when = element.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  let timer = null;
  if (when.includes("on_character_entered")) {
    node.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => desk.press(element, block, node.value), 400);
    });
  }
  if (when.includes("on_enter_pressed")) {
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      desk.press(element, block, node.value);
    });
  }
}

function files(element, block, desk, marks) {
  let held = stateOf(element, block, desk)?.files ?? [];
  const kinds = element.filetypes?.map((kind) => `.${kind}`).join(",");
  const names = h("span", { class: "file-names" }, held.map((file) => file.name ?? file.filename).join(", "));
  const input = h("input", { type: "file", accept: kinds, multiple: (element.max_files ?? 10) > 1, ...marks });
  input.addEventListener("change", async () => {
    held = await readFiles(input.files);
    names.textContent = "";
  });
  const node = h("div", { class: "files" }, input, names);
  node.read = () => held;
  return node;
}

const richText = (text) => (text
  ? { type: "rich_text", elements: [{ type: "rich_text_section", elements: [{ type: "text", text }] }] }
  : null);

export function picture(element, size) {
  const src = safeLink(element.image_url ?? "");
  const alt = element.alt_text ?? "";
  if (!src || !src.startsWith("https:")) return h("span", { class: "no-image" }, `[${alt}]`);
  return h("img", { src, alt, class: size, loading: "lazy", referrerpolicy: "no-referrer" });
}
