// The end of a log file, followed.

import { el } from "./dom.js";
import { call } from "./way.js";

const EVERY_MS = 1000, MOST_LINES = 5000;

export function logsPage(content) {
  let file = "", after = -1, gone = false, busy = false, lines = [];
  const choice = el("select", { id: "log-file", "aria-label": "Log file", on: { change: () => { file = choice.value; after = -1; lines = []; text.replaceChildren(); load(); } } });
  const filter = el("input", { type: "search", id: "log-filter", placeholder: "Show lines with…", "aria-label": "Show only lines with this text", on: { input: redraw } });
  const follow = el("input", { type: "checkbox", class: "switch", role: "switch", id: "log-follow", checked: true, on: { change: () => { if (follow.checked) end(); } } });
  const text = el("div", { class: "card log", id: "log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log" });
  const say = el("p", { class: "problem", role: "status" });
  const open = el("button", { type: "button", class: "plain", text: "Open folder", on: { click: openFolder } });
  content.append(el("div", { class: "log-page" }, el("h1", { text: "Logs" }), el("div", { class: "log-bar" }, choice, filter, el("label", { class: "actions" }, follow, "Follow"), open), say, text));

  async function load() {
    if (busy) return;
    busy = true;
    try {
      for (let more = true; more && !gone; ) {
        const piece = await call("ReadLog", { file, after });
        if (piece.file !== (file || piece.file)) break;
        say.textContent = piece.files.length ? "" : "There are no logs yet.";
        offer(piece.files, piece.file);
        more = after >= 0 && piece.text !== "";
        if (piece.anew) { lines = []; text.replaceChildren(); }
        file = piece.file;
        after = piece.file ? piece.next : -1;
        if (piece.text) add(piece.text.replace(/\n$/, "").split("\n"));
      }
    } catch (error) {
      say.textContent = error.message;
      file = "";
      after = -1;
    }
    busy = false;
  }

  function offer(files, chosen) {
    if (choice.childElementCount !== files.length || files.some((name, at) => choice.options[at].value !== name && !choice.matches(":focus")))
      choice.replaceChildren(...files.map((name) => el("option", { value: name, text: name })));
    choice.value = chosen;
  }

  function add(fresh) {
    lines = [...lines, ...fresh].slice(-MOST_LINES);
    text.append(...fresh.filter(wanted).map(shown));
    while (text.childElementCount > MOST_LINES) text.firstElementChild.remove();
    if (follow.checked) end();
  }

  function redraw() {
    text.replaceChildren(...lines.filter(wanted).map(shown));
    if (follow.checked) end();
  }

  function wanted(line) {
    return line.toLowerCase().includes(filter.value.toLowerCase());
  }

  function shown(line) {
    const kind = / (ERROR|CRITICAL) /.test(line) ? "error" : / WARNING /.test(line) ? "warning" : null;
    return el("div", { class: kind, text: line });
  }

  function end() {
    text.scrollTop = text.scrollHeight;
  }

  async function openFolder() {
    try {
      await call("OpenFolder", { which: "logs" });
    } catch (error) {
      say.textContent = error.message;
    }
  }

  const timer = setInterval(() => { if (!document.hidden && (follow.checked || !file)) load(); }, EVERY_MS);
  load();
  return () => { gone = true; clearInterval(timer); };
}
