// Keeps a console page up to date: a tick by server-sent events (or a poll when they fail) fetches the page's parts,
// and only parts that differ are swapped, so that scroll, focus and opened details stay where they are.
"use strict";

(() => {
  const main = document.getElementById("main");
  const badge = document.getElementById("live");
  const news = document.getElementById("news");
  const POLL = 5000;
  const RETRY = 3000;

  const parts = new Map();
  let skew = 0;
  let fetching = false;
  let again = false;
  let polling = 0;
  let source = null;

  const stamp = () => document.getElementById("stamp").dataset.stamp;

  function remember() {
    for (const part of main.querySelectorAll("[data-part]")) {
      parts.set(part.dataset.part, part.outerHTML);
    }
    skew = Date.parse(document.getElementById("stamp").dataset.now) - Date.now();
  }

  function say(state, text) {
    if (badge.dataset.state !== state) {
      badge.dataset.state = state;
      badge.textContent = text;
    }
  }

  function anchor() {
    for (const line of main.querySelectorAll("[data-anchor]")) {
      const top = line.getBoundingClientRect().top;
      if (top >= 0) {
        return { id: line.id, top };
      }
    }
    return null;
  }

  function swap(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    if (!fresh.getElementById("stamp")) {
      throw new Error("not a part of this page");
    }
    const below = window.scrollY > 0 ? anchor() : null;
    const focused = document.activeElement && document.activeElement.id;
    const known = new Set(Array.from(main.querySelectorAll(".timeline > li"), (line) => line.id));
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = main.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old || parts.get(part.dataset.part) === part.outerHTML) {
        continue;
      }
      parts.set(part.dataset.part, part.outerHTML);
      for (const opened of old.querySelectorAll("details[id]")) {
        const same = part.querySelector(`#${CSS.escape(opened.id)}`);
        if (same) {
          same.open = opened.open;
        }
      }
      old.replaceWith(document.adoptNode(part));
    }
    for (const line of main.querySelectorAll(".timeline > li")) {
      line.classList.toggle("fresh", known.size > 0 && !known.has(line.id));
    }
    const mark = document.getElementById("stamp").dataset;
    skew = Date.parse(mark.now) - Date.now();
    document.title = mark.title || document.title;
    const back = focused && document.getElementById(focused);
    if (back && back !== document.activeElement) {
      back.focus({ preventScroll: true });
    }
    const place = below && document.getElementById(below.id);
    if (place) {
      window.scrollBy(0, place.getBoundingClientRect().top - below.top);
    }
    tell(known);
    tick();
  }

  function tell(known) {
    const first = main.querySelector("[data-news]");
    if (first && known.size > 0 && !known.has(first.id)) {
      news.textContent = first.dataset.news;
    }
  }

  async function refresh() {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    try {
      const answer = await fetch(`${main.dataset.page}?fragment=1`, { cache: "no-store", redirect: "error" });
      if (answer.status === 401 || answer.status === 403) {
        say("lost", "signed out: load the page again");
        return;
      }
      if (!answer.ok) {
        throw new Error(`status ${answer.status}`);
      }
      swap(await answer.text());
    } catch {
      say("lost", "reconnecting");
    } finally {
      fetching = false;
      if (again) {
        again = false;
        void refresh();
      }
    }
  }

  function poll(on) {
    if (on && !polling) {
      polling = window.setInterval(refresh, POLL);
    } else if (!on && polling) {
      window.clearInterval(polling);
      polling = 0;
    }
  }

  function connect() {
    source = new EventSource(main.dataset.live);
    source.addEventListener("changed", (event) => {
      say("live", "live");
      poll(false);
      if (event.data !== stamp()) {
        void refresh();
      }
    });
    source.addEventListener("error", () => {
      say("lost", "reconnecting");
      poll(true);
      if (source.readyState === EventSource.CLOSED) {
        window.setTimeout(connect, RETRY);
      }
    });
  }

  const two = (n) => String(n).padStart(2, "0");

  function age(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) {
      return `${s} s`;
    }
    if (s < 3600) {
      return `${Math.floor(s / 60)} min`;
    }
    return s < 86400 ? `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min` : `${Math.floor(s / 86400)} d`;
  }

  function countdown(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : age(s);
  }

  function tick() {
    const now = Date.now() + skew;
    for (const time of document.querySelectorAll("time[data-ago]")) {
      time.textContent = age((now - Date.parse(time.dateTime)) / 1000);
    }
    for (const time of document.querySelectorAll("time[data-due]")) {
      const left = (Date.parse(time.dateTime) - now) / 1000;
      time.textContent = left >= 0 ? `in ${countdown(left)}` : `${countdown(-left)} overdue`;
    }
    for (const time of document.querySelectorAll("time[data-clock]")) {
      time.textContent = `${new Date(now).toISOString().slice(11, 19)} UTC`;
    }
  }

  remember();
  tick();
  window.setInterval(tick, 1000);
  connect();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      void refresh();
    }
  });
})();
