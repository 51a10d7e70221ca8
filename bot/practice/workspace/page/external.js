// Menus whose options come from the app: type, wait a moment, choose. The app is asked by /practice/options.
import { h } from "/page/dom.js";
import { emojiText } from "/page/mrkdwn.js";

const PAUSE = 300;

export function external(element, block, desk, marks, label, acts) {
  const many = element.type === "multi_external_select";
  const state = desk.picked?.[block.block_id]?.[element.action_id];
  const first = (state ? state.selected_options ?? [state.selected_option] : element.initial_options ?? [element.initial_option]).filter(Boolean);
  const least = element.min_query_length ?? 3;
  const { id, "data-focus": focus, ...rest } = marks;
  const search = h("input", { type: "search", id, placeholder: element.placeholder?.text ?? "Type to search…", "aria-label": label ?? "Search", "data-focus": focus, "data-block-id": block.block_id, disabled: marks.disabled });
  const select = h("select", { "aria-label": `${label ?? element.action_id}: options`, multiple: many, size: many ? 4 : null, ...rest });
  const hint = h("small", { class: "hint", role: "status" });
  const chosen = () => [...select.selectedOptions].filter((row) => row.value);
  const fill = (rows, kept) => {
    const known = new Map(kept.map((row) => [row.value, row]));
    for (const row of rows) known.set(row.value, row);
    const keep = new Set(kept.map((row) => row.value));
    select.replaceChildren(...(many ? [] : [h("option", { value: "" }, "Choose…")]),
      ...[...known.values()].map((row) => h("option", { value: row.value, selected: keep.has(row.value) }, row.label ?? emojiText(row.text.text))));
  };
  fill([], first);
  let timer = null;
  let asked = 0;
  const ask = async () => {
    if (search.value.length < least) {
      hint.textContent = `Type at least ${least} characters.`;
      return;
    }
    const number = ++asked;
    hint.textContent = "Loading…";
    const answer = await desk.suggest(element, block, search.value);
    if (number !== asked) return;
    fill(answer.options ?? [], chosen().map((row) => ({ value: row.value, label: row.textContent })));
    hint.textContent = answer.ok ? `${answer.options.length} found` : "The app did not answer with options.";
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
  search.addEventListener("focus", () => { if (!least && !search.value && !select.dataset.asked) { select.dataset.asked = "yes"; ask(); } });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
    if (event.key === "ArrowDown") { event.preventDefault(); select.focus(); }
  });
  const node = h("div", { class: "external" }, search, select, hint);
  node.read = () => (many ? chosen().map((row) => row.value) : select.value || null);
  if (!desk.form || acts) select.addEventListener("change", () => { if (many || select.value) desk.press(element, block, node.read()); });
  return node;
}
