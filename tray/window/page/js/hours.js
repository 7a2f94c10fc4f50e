// The week as a grid of hours, and the same as the text of `worker.schedule`: `mon,tue 09:00-17:00; sat 10:00-24:00`.

import { el } from "./dom.js";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const NAMES = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const ENTRY = /\s*(?:([a-z]{3}(?:\s*[-,]\s*[a-z]{3})*)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*(?:[;,]|$)/giy;

/** 7 rows of 24 booleans; all true for no text; null for hours that a grid cannot show. */
export function gridOf(text) {
  const grid = DAYS.map(() => Array(24).fill(text.trim() === ""));
  if (text.trim() === "") return grid;
  ENTRY.lastIndex = 0;
  while (ENTRY.lastIndex < text.length) {
    const found = ENTRY.exec(text);
    const days = found && daysOf(found[1]);
    if (!days || found[3] !== "00" || found[5] !== "00") return null;
    const begin = Number(found[2]), end = Number(found[4]);
    if (begin > 24 || end > 24) return null;
    for (const day of days) {
      const hours = begin < end ? end - begin : 24 - begin + end;
      for (let hour = begin; hour < begin + hours; hour++) grid[(day + Math.floor(hour / 24)) % 7][hour % 24] = true;
    }
  }
  return grid;
}

/** The shortest text: equal days together, neighbouring hours together; empty for always. */
export function textOf(grid) {
  if (grid.every((row) => row.every(Boolean))) return "";
  const byHours = new Map();
  grid.forEach((row, day) => {
    for (const range of ranges(row)) byHours.set(range, [...(byHours.get(range) ?? []), DAYS[day]]);
  });
  return [...byHours].map(([range, days]) => (days.length === 7 ? range : `${days.join(",")} ${range}`)).join("; ");
}

function ranges(row) {
  const found = [];
  for (let hour = 0; hour < 24; hour++) {
    if (!row[hour] || row[hour - 1]) continue;
    let end = hour;
    while (end < 24 && row[end]) end++;
    found.push(`${pad(hour)}:00-${pad(end)}:00`);
  }
  return found;
}

function pad(number) {
  return String(number).padStart(2, "0");
}

function daysOf(words) {
  if (!words) return DAYS.keys();
  const days = new Set();
  for (const part of words.toLowerCase().split(",")) {
    const [first, last] = part.split("-").map((word) => DAYS.indexOf(word.trim()));
    if (first < 0 || last === -1) return null;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === (last ?? first)) break;
    }
  }
  return days;
}

/** A table of buttons: arrow keys move, space switches, dragging paints. `changed` gets the text. */
export function hoursTable(text, disabled, changed) {
  const grid = gridOf(text) ?? gridOf("");
  const cells = grid.map((row, day) => row.map((on, hour) => el("button", {
    type: "button", disabled, tabindex: day === 0 && hour === 0 ? 0 : -1,
    "aria-pressed": on ? "true" : "false", "aria-label": `${NAMES[day]} ${hour}:00 to ${hour + 1}:00`,
    on: {
      click: (event) => { if (event.detail === 0) { paint(day, hour, !grid[day][hour]); changed(textOf(grid)); } },
      keydown: (event) => move(event, day, hour),
      pointerdown: (event) => { event.preventDefault(); cells[day][hour].focus(); painting = !grid[day][hour]; paint(day, hour, painting); },
      pointerenter: () => { if (painting !== null) paint(day, hour, painting); },
    },
  })));
  let painting = null;

  function paint(day, hour, on) {
    if (disabled) return;
    grid[day][hour] = on;
    cells[day][hour].setAttribute("aria-pressed", String(on));
  }

  function move(event, day, hour) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -hour], End: [0, 23 - hour] }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = cells[(day + step[0] + 7) % 7][(hour + step[1] + 24) % 24];
    cells[day][hour].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  function finish() {
    if (painting === null) return;
    painting = null;
    changed(textOf(grid));
  }

  const heads = [el("th"), ...[0, 3, 6, 9, 12, 15, 18, 21].map((hour) => el("th", { colspan: 3, scope: "colgroup", text: `${pad(hour)}:00` }))];
  return el("table", { class: "hours", "aria-label": "Hours in which the worker may work", on: { pointerup: finish, pointerleave: finish } },
    el("thead", {}, el("tr", {}, ...heads)),
    el("tbody", {}, ...cells.map((row, day) => el("tr", {}, el("th", { scope: "row", text: NAMES[day].slice(0, 3) }), ...row.map((cell) => el("td", {}, cell))))));
}
