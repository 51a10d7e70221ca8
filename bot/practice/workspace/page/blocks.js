// Block Kit as DOM nodes. `desk` is what the blocks stand on: { context, press(element, block, given), form, picked }.
import { control, isInput, picture } from "/page/elements.js";
import { h, link } from "/page/dom.js";
import { markdown as marked } from "/page/markdown.js";
import { emoji, mention, mrkdwn, textObject } from "/page/mrkdwn.js";

export const blocks = (list, desk) => (list ?? []).map((block) => block_(block, desk));

function block_(block, desk) {
  const render = KINDS[block.type];
  return render ? render(block, desk) : h("p", { class: "unknown" }, `(a ${block.type} block)`);
}

function section(block, desk) {
  const body = h("div", { class: "section-body" });
  if (block.text) body.append(h("div", { class: "text" }, textObject(block.text, desk.context)));
  if (block.fields) {
    const fields = block.fields.map((field) => h("div", { class: "field text" }, textObject(field, desk.context)));
    body.append(h("div", { class: "fields" }, fields));
  }
  const accessory = block.accessory ? h("div", { class: "accessory" }, control(block.accessory, block, desk)) : null;
  return h("div", { class: "block section" }, body, accessory);
}

function header(block, desk) {
  return h("div", { class: "block header", role: "heading", "aria-level": "3" }, textObject(block.text, desk.context));
}

const divider = () => h("hr", { class: "block" });
const markdown = (block) => h("div", { class: "block text" }, marked(block.text));
const file = () => h("p", { class: "block" }, "(a remote file)");
const video = (block) => h("p", { class: "block" }, link(block.video_url, block.alt_text));

function context(block, desk) {
  const items = block.elements.map((element) =>
    element.type === "image" ? picture(element, "tiny") : h("span", { class: "text" }, textObject(element, desk.context)),
  );
  return h("div", { class: "block context" }, items);
}

const actions = (block, desk) => h("div", { class: "block actions" }, block.elements.map((element) => control(element, block, desk)));

function image(block, desk) {
  const title = block.title ? h("figcaption", {}, textObject(block.title, desk.context)) : null;
  return h("figure", { class: "block image" }, title, picture(block, "wide"));
}

function input(block, desk) {
  const error = desk.errors?.[block.block_id];
  const id = `field-${block.block_id}`;
  const group = ["checkboxes", "radio_buttons"].includes(block.element.type);
  const label = [textObject(block.label, desk.context), block.optional ? h("span", { class: "optional" }, " (optional)") : null];
  const field = control(block.element, block, desk, { id, describedby: `${id}-more`, invalid: Boolean(error) });
  const more = h("div", { id: `${id}-more` },
    block.hint ? h("p", { class: "hint" }, textObject(block.hint, desk.context)) : null,
    error ? h("p", { class: "error", role: "alert" }, error) : null);
  return group
    ? h("fieldset", { class: "block input" }, h("legend", {}, label), field, more)
    : h("div", { class: "block input" }, h("label", { for: id }, label), field, more);
}

function rich_text(block, desk) {
  return h("div", { class: "block text" }, block.elements.map((element) => richElement(element, desk.context)));
}

function richElement(element, where) {
  const inner = () => (element.elements ?? []).flatMap((item) => richInline(item, where));
  switch (element.type) {
    case "rich_text_list":
      return h(element.style === "ordered" ? "ol" : "ul", {}, element.elements.map((item) => h("li", {}, richElement(item, where))));
    case "rich_text_preformatted": return h("pre", {}, inner());
    case "rich_text_quote": return h("blockquote", {}, inner());
    default: return h("div", { class: "wrap" }, inner());
  }
}

function richInline(item, where) {
  switch (item.type) {
    case "text": return [styled(item.text, item.style ?? {})];
    case "link": return [link(item.url, styled(item.text ?? item.url, item.style ?? {}))];
    case "emoji": return [emoji(item.name) ?? `:${item.name}:`];
    case "color": return [h("code", {}, item.value)];
    case "user": return [mention(item.user_id, null, where)];
    case "channel": return mrkdwn(`<#${item.channel_id}>`, where);
    case "usergroup": return mrkdwn(`<!subteam^${item.usergroup_id}>`, where);
    case "broadcast": return mrkdwn(`<!${item.range}>`, where);
    case "date": return mrkdwn(`<!date^${item.timestamp}^${item.format}|${item.fallback ?? ""}>`, where);
    default: return [];
  }
}

function styled(text, style) {
  let node = document.createTextNode(text);
  for (const [key, tag] of [["code", "code"], ["bold", "strong"], ["italic", "em"], ["strike", "s"]]) {
    if (style[key]) node = h(tag, {}, node);
  }
  return node;
}

// What a form's inputs hold: {block_id: {action_id: value}}.
export function formValues(root, list) {
  const values = {};
  for (const block of list) {
    if (block.type !== "input" || !isInput(block.element)) continue;
    const field = root.querySelector(`[data-field="${CSS.escape(block.block_id)}"]`);
    if (field) values[block.block_id] = { [block.element.action_id]: field.read() };
  }
  return values;
}

const KINDS = { section, header, divider, context, actions, image, input, rich_text, markdown, video, file };
