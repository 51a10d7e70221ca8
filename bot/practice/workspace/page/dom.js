// Small tools to build the page. Text only ever becomes text nodes; nothing here takes HTML.

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export const safeLink = (url) => {
  try {
    const parsed = new URL(url);
    return ["http:", "https:", "mailto:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
};

export const link = (url, ...label) => {
  const href = safeLink(url);
  const text = label.length ? label : [url];
  return href ? h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...text) : h("span", {}, ...text);
};

// Replace the children of `box` by keyed rows; a row whose signature is unchanged keeps its element, and with it the
// focus, the selection and what was typed. Focus in a row that did change returns to the control of the same key.
export function keyed(box, rows, render) {
  const old = new Map([...box.children].map((child) => [child.dataset.key, child]));
  const focus = focusKey(box);
  const wanted = rows.map(({ key, signature, row }) => {
    const known = old.get(key);
    if (known && known.signature === signature) return known;
    const made = render(row);
    made.dataset.key = key;
    made.signature = signature;
    return made;
  });
  if (wanted.length !== box.children.length || wanted.some((node, index) => box.children[index] !== node)) {
    for (const child of [...box.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((node, index) => {
      if (box.children[index] !== node) box.insertBefore(node, box.children[index] ?? null);
    });
  }
  refocus(box, focus);
}

const inRow = (node) => node.closest("[data-key]")?.dataset.key ?? "";

function focusKey(box) {
  const active = document.activeElement;
  if (!active || active === box || !box.contains(active)) return null;
  return { row: inRow(active), focus: active.dataset.focus ?? "", block: active.dataset.blockId ?? "" };
}

function refocus(box, key) {
  if (!key?.focus || (document.activeElement && box.contains(document.activeElement))) return;
  const same = (node) => inRow(node) === key.row && (node.dataset.blockId ?? "") === key.block;
  [...box.querySelectorAll(`[data-focus="${CSS.escape(key.focus)}"]`)].find(same)?.focus({ preventScroll: true });
}

export async function post(act, body) {
  const answer = await fetch(`/practice/${act}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return answer.json();
}
