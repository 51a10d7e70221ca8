// A button that opens a list of choices: Enter or Space opens, arrows move, Escape closes and gives the focus back.
import { h } from "/page/dom.js";

export function menu(label, rows, { text = "⋯", focus = "menu", className = "tool", align = "right" } = {}) {
  const list = h("div", { class: `menu-list ${align}`, role: "menu", hidden: true });
  const button = h("button", { type: "button", class: className, "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": label, title: label, "data-focus": focus }, text);
  const node = h("span", { class: "menu" }, button, list);
  const toggle = (open) => {
    list.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    node.classList.toggle("open", open);
    node.closest(".message")?.classList.toggle("menu-open", open);
    if (open) place(list, button);
  };
  const items = rows.filter(Boolean).map((row) => h("button", {
    type: "button", role: "menuitem", class: `menu-item${row.danger ? " danger" : ""}`, "aria-label": row.label ?? null, "data-testid": row.testid ?? null,
    onclick: () => { toggle(false); button.focus(); row.act(); },
  }, row.text));
  list.append(...items);
  button.addEventListener("click", () => {
    toggle(list.hidden);
    if (!list.hidden) items[0]?.focus();
  });
  node.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") {
      event.stopPropagation();
      toggle(false);
      button.focus();
    } else if (step) {
      event.preventDefault();
      items[(items.indexOf(document.activeElement) + step + items.length) % items.length]?.focus();
    }
  });
  node.addEventListener("focusout", (event) => { if (!node.contains(event.relatedTarget)) toggle(false); });
  return node;
}

// Open upwards where there is no room below.
function place(list, button) {
  const box = button.getBoundingClientRect();
  list.classList.toggle("up", innerHeight - box.bottom < list.offsetHeight + 12 && box.top > list.offsetHeight);
}
