// A field to write in: sends with Enter, grows with its text, and takes files by button, paste or drop.
import { h } from "/page/dom.js";

export const FILE_MAX = 8 * 1024 * 1024;

// Read files as the practice API takes them: {filename, base64}; what is too large is told by `say`.
export async function readFiles(files, say = () => {}) {
  const small = [...files].filter((file) => file.size <= FILE_MAX);
  if (small.length < files.length) say("Files here may have up to 8 MB.");
  return Promise.all(small.map(async (file) => ({ filename: file.name || "pasted.png", base64: await base64(file) })));
}

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

export class Composer {
  // `send(text, files)` resolves to true when it was taken; `up()` is what ArrowUp in the empty field does.
  constructor(form, { send, up, say }) {
    this.form = form;
    this.box = form.querySelector("textarea");
    this.input = form.querySelector("input[type=file]");
    this.tray = form.querySelector(".tray");
    this.files = [];
    this.act = { send, up, say };
    this.listen();
  }

  listen() {
    const { form, box, input } = this;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    box.addEventListener("input", () => this.grow());
    box.addEventListener("keydown", (event) => this.key(event));
    form.querySelector(".attach").addEventListener("click", () => input.click());
    input.addEventListener("change", () => { this.add(input.files); input.value = ""; });
    box.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) { event.preventDefault(); this.add(event.clipboardData.files); } });
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => { event.preventDefault(); this.add(event.dataTransfer.files); });
  }

  key(event) {
    if (event.key === "ArrowUp" && !this.box.value && this.act.up?.()) event.preventDefault();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  async add(files) {
    if (this.box.disabled) return;
    this.files.push(...(await readFiles(files, this.act.say)));
    this.files.splice(10);
    this.draw();
    this.box.focus();
  }

  draw() {
    this.tray.hidden = !this.files.length;
    this.tray.replaceChildren(...this.files.map((file, index) => h("span", { class: "chip" }, file.filename,
      h("button", { type: "button", class: "icon", "aria-label": `Take ${file.filename} off`, onclick: () => { this.files.splice(index, 1); this.draw(); this.box.focus(); } }, "✕"))));
  }

  async submit() {
    const text = this.box.value.trim();
    const files = this.files;
    if (!text && !files.length) {
      this.act.send("", []);
      return;
    }
    this.put("", []);
    if (!(await this.act.send(text, files))) this.put(text, files);
  }

  put(text, files) {
    if (text && this.box.value) return;
    this.box.value = text;
    this.files = files;
    this.grow();
    this.draw();
  }

  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 180)}px`;
  }
}
