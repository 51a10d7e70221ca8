// Modals and confirm dialogs. The browser's own <dialog> keeps the focus inside and gives it back.
import { blocks, formValues } from "/page/blocks.js";
import { h } from "/page/dom.js";
import { emojiText, textObject } from "/page/mrkdwn.js";

export class Modal {
  constructor(node, { press, submit, close, suggest }) {
    this.node = node;
    this.act = { press, submit, close, suggest };
    this.shown = null;
    this.errors = {};
    node.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
  }

  // Show the top of a stack of views, or nothing.
  show(stack, context) {
    const view = stack?.at(-1);
    if (!view) {
      this.shown = null;
      this.errors = {};
      if (this.node.open) this.node.close();
      return;
    }
    const signature = `${view.id} ${view.hash} ${JSON.stringify(this.errors)}`;
    if (signature === this.shown) return;
    const typed = this.shown?.startsWith(view.id) ? formValues(this.node, view.blocks) : {};
    const focus = document.activeElement?.dataset?.focus;
    if (!this.shown?.startsWith(view.id)) this.errors = {};
    this.shown = `${view.id} ${view.hash} ${JSON.stringify(this.errors)}`;
    this.node.replaceChildren(this.form(view, stack.length, context, typed));
    if (!this.node.open) this.node.showModal();
    this.focus(focus);
  }

  focus(key) {
    const wrong = this.node.querySelector('[aria-invalid="true"]');
    const same = key ? this.node.querySelector(`[data-focus="${CSS.escape(key)}"]`) : null;
    (wrong ?? same ?? this.node.querySelector("input, textarea, select") ?? this.node.querySelector("[type=submit]"))?.focus();
  }

  form(view, depth, context, typed) {
    const desk = {
      context,
      form: true,
      errors: this.errors,
      picked: picked(view, typed),
      press: (element, block, given, undo) => this.act.press({ view_id: view.id, values: formValues(this.node, view.blocks) }, element, block, given, undo),
      suggest: (element, block, value) => this.act.suggest({ view_id: view.id }, element, block, value),
    };
    const form = h("form", { method: "dialog", novalidate: true },
      h("header", { class: "modal-head" },
        h("h2", { id: "modal-title" }, emojiText(view.title.text)),
        h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => this.close(true) }, "✕")),
      h("div", { class: "modal-body" },
        this.errors[""] ? h("p", { class: "error", role: "alert" }, this.errors[""]) : null,
        blocks(view.blocks, desk)),
      h("footer", { class: "modal-foot" },
        h("button", { type: "button", class: "button", "data-testid": "modal-close", onclick: () => this.close() }, view.close?.text ?? (depth > 1 ? "Back" : "Cancel")),
        view.submit ? h("button", { type: "submit", class: "button primary", "data-testid": "modal-submit" }, emojiText(view.submit.text)) : null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(view, form);
    });
    return form;
  }

  async submit(view, form) {
    const button = form.querySelector("[type=submit]");
    if (!button || button.disabled) return;
    button.disabled = true;
    const answer = await this.act.submit(view.id, formValues(form, view.blocks));
    button.disabled = false;
    this.errors = answer.errors ?? {};
    if (Object.keys(this.errors).length) this.shown = `${view.id} `;
  }

  close(everything = false) {
    this.act.close(everything);
  }
}

// The state to show again: what the view holds, under what was just typed.
function picked(view, typed) {
  const state = structuredClone(view.state.values ?? {});
  for (const block of view.blocks) {
    const given = typed[block.block_id]?.[block.element?.action_id];
    if (given === undefined) continue;
    const option = (value) => (block.element.options ?? []).find((row) => row.value === value) ?? null;
    const shapes = {
      static_select: () => ({ selected_option: option(given) }),
      radio_buttons: () => ({ selected_option: option(given) }),
      checkboxes: () => ({ selected_options: (given ?? []).map(option).filter(Boolean) }),
      users_select: () => ({ selected_user: given }),
      channels_select: () => ({ selected_channel: given }),
      conversations_select: () => ({ selected_conversation: given }),
      datepicker: () => ({ selected_date: given }),
      timepicker: () => ({ selected_time: given }),
      datetimepicker: () => ({ selected_date_time: given }),
      multi_static_select: () => ({ selected_options: (given ?? []).map(option).filter(Boolean) }),
      multi_users_select: () => ({ selected_users: given }),
      multi_channels_select: () => ({ selected_channels: given }),
      multi_conversations_select: () => ({ selected_conversations: given }),
      external_select: () => kept(state, block, "selected_option"),
      multi_external_select: () => kept(state, block, "selected_options"),
      file_input: () => ({ files: given }),
    };
    const shape = shapes[block.element.type] ?? (() => ({ value: typeof given === "string" ? given : "" }));
    state[block.block_id] = { ...state[block.block_id], [block.element.action_id]: shape() };
  }
  return state;
}

const kept = (state, block, key) => ({ [key]: state[block.block_id]?.[block.element.action_id]?.[key] ?? null });

// Ask for one line of text; resolves to it, or to null.
export function asked(node, title, label, value = "") {
  return new Promise((resolve) => {
    const field = h("input", { type: "text", id: "asked", value, "data-testid": "asked" });
    const done = (answer) => { node.close(); resolve(answer); };
    node.oncancel = (event) => { event.preventDefault(); done(null); };
    const form = h("form", { method: "dialog", novalidate: true },
      h("header", { class: "modal-head" }, h("h2", { id: "confirm-title" }, title)),
      h("div", { class: "modal-body block input" }, h("label", { for: "asked" }, label), field),
      h("footer", { class: "modal-foot" },
        h("button", { type: "button", class: "button", onclick: () => done(null) }, "Cancel"),
        h("button", { type: "submit", class: "button primary" }, "Save")));
    form.addEventListener("submit", (event) => { event.preventDefault(); done(field.value.trim()); });
    node.replaceChildren(form);
    node.showModal();
    field.focus();
    field.select();
  });
}

// Ask as a `confirm` object says; resolves to true or false.
export function confirmed(node, confirm, context) {
  return new Promise((resolve) => {
    const done = (answer) => {
      node.close();
      resolve(answer);
    };
    node.oncancel = (event) => {
      event.preventDefault();
      done(false);
    };
    node.replaceChildren(
      h("header", { class: "modal-head" }, h("h2", { id: "confirm-title" }, emojiText(confirm.title.text))),
      h("div", { class: "modal-body text" }, textObject(confirm.text, context)),
      h("footer", { class: "modal-foot" },
        h("button", { type: "button", class: "button", "data-testid": "confirm-no", autofocus: true, onclick: () => done(false) }, confirm.deny?.text ?? "Cancel"),
        h("button", { type: "button", class: `button ${confirm.style === "danger" ? "danger" : "primary"}`, "data-testid": "confirm-yes", onclick: () => done(true) }, confirm.confirm?.text ?? "OK")));
    node.showModal();
  });
}
