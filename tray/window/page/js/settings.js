// Every setting of the worker: shown with where its value comes from, written the moment it is changed.

import { el, replace } from "./dom.js";
import { hoursTable, gridOf } from "./hours.js";
import { look, watch } from "./status.js";
import { call } from "./way.js";
import { bytes, whyNot } from "./words.js";

const GROUPS = [
  ["What you lend", [
    { key: "worker.max_vram", other: "worker.max_vram_gb", label: "GPU memory", kind: "share", of: "gpu", usual: 90 },
    { key: "worker.max_ram", label: "Main memory", kind: "share", of: "cpu", usual: 50 },
    { key: "worker.device", label: "Compute on", kind: "choice", choices: [["auto", "Whatever is best"], ["cuda", "NVIDIA GPU"], ["mps", "Apple GPU"], ["cpu", "Processor"]] },
    { key: "worker.gpu", label: "Which GPU", kind: "gpu" },
    { key: "worker.disk_cap", label: "Disk for models", kind: "text", help: "The least used ones are removed first: 100GB" },
  ]],
  ["When it works", [
    { key: "worker.pause_on_activity", label: "Pause while I use the computer", kind: "switch", help: "Its GPU and memory are free within a second" },
    { key: "worker.activity_idle", label: "In use until this long after the last input", kind: "text", help: "For example 3m" },
    { key: "worker.run_on_battery", label: "Run on battery", kind: "switch" },
    { key: "worker.pause_on_fullscreen", label: "Pause while a program fills the screen", kind: "switch", help: "Games and films" },
    { key: "worker.exclusive_apps", label: "Pause while these programs run", kind: "text", help: "Their names, with commas between", wide: true },
    { key: "worker.max_other_load", label: "Pause when other programs use more than", kind: "text", help: "Of the GPU or the processor: 50%" },
    { key: "worker.max_temperature", label: "Pause above this temperature", kind: "text", help: "In °C; 0: never" },
    { key: "worker.schedule", label: "Hours in which it may work", kind: "hours", wide: true, help: "By this computer's clock" },
  ]],
  ["Start and updates", [
    { special: "autostart" },
    { key: "worker.notifications", label: "Notifications", kind: "choice", choices: [["none", "None"], ["trouble", "Only trouble"], ["all", "All"]] },
    { key: "updates.enabled", label: "Look for updates", kind: "switch" },
    { special: "update" },
  ]],
  ["Coordinator", [
    { key: "coordinator.host", label: "Address", kind: "text", help: "Host name or IP address" },
    { key: "coordinator.port", label: "Port", kind: "text" },
    { special: "join" },
  ]],
];
const STEP = 5;
const KNOWN = new Set(GROUPS.flatMap(([, rows]) => rows.flatMap((row) => [row.key, row.other])));

export function settingsPage(content, show) {
  let gone = false, asked = false, reads = 0, runner = null, app = null, trouble = "";
  let last = Promise.resolve();
  const fresh = new Map();
  const wrong = el("p", { class: "card pad problem", id: "settings-trouble", role: "alert", hidden: true });
  const body = el("div", { id: "settings" });
  content.append(el("h1", { text: "Settings" }), el("p", { class: "lead", text: "What you change counts at once." }), wrong, body);

  const stop = watch((overview) => {
    const news = !asked || (overview.runner !== null && runner === null);
    runner = overview.runner;
    app = overview.app;
    if (news) load();
    else if (trouble && reads === 0) read();
    for (const refresh of fresh.values()) refresh();
  });

  async function load() {
    asked = true;
    const found = await read();
    if (found && !gone) present(found);
  }

  /** The settings, if they can be read. What is wrong with their file is shown until it is right again. */
  function read() {
    reads++;
    return (last = last.then(readNow).finally(() => reads--));
  }

  async function readNow() {
    let found = null, problem = "";
    try {
      found = await call("ReadSettings");
      problem = found.trouble ?? "";
    } catch (error) {
      problem = error.message;
    }
    const repaired = trouble !== "" && problem === "";
    trouble = wrong.textContent = problem;
    wrong.hidden = problem === "";
    if (repaired && !gone) present(found);
    return found;
  }

  function present(found) {
    fresh.clear();
    const byKey = new Map(found.settings.map((setting) => [setting.key, setting]));
    const rest = found.settings.filter((setting) => !KNOWN.has(setting.key)).map((setting) => ({ key: setting.key, label: labelOf(setting.key), kind: "text", help: setting.help }));
    const groups = GROUPS.map(([title, rows]) => group(title, rows, byKey));
    const more = el("details", { id: "more" }, el("summary", { text: "More settings" }), group("", rest, byKey));
    replace(body, ...groups, more, el("p", { class: "quiet", id: "config-file", text: `Kept in ${found.file}; comments there stay.` }));
    for (const refresh of fresh.values()) refresh();
  }

  function group(title, rows, byKey) {
    const shown = rows.filter((row) => row.special || byKey.has(row.key)).map((row) => (row.special ? specials[row.special]() : settingRow(row, chosen(row, byKey))));
    return el("section", {}, title ? el("h2", { text: title }) : null, el("div", { class: "card" }, ...shown.filter(Boolean)));
  }

  /** A limit with two names is shown under the one that is set. */
  function chosen(row, byKey) {
    const other = row.other && byKey.get(row.other);
    return other && other.origin !== "default" && byKey.get(row.key).origin === "default" ? { ...other, twin: true } : byKey.get(row.key);
  }

  function settingRow(row, setting) {
    const id = row.key.replaceAll(".", "-");
    const fixed = setting.origin.startsWith("--") || setting.origin === setting.env;
    const say = el("p", { class: "say", id: `${id}-say`, role: "status", text: originOf(setting, fixed) });
    const about = { id, disabled: fixed, "aria-describedby": `${id}-help ${id}-say` };

    let turn = Promise.resolve();
    /** One after the other: the last press of a key is the one that stays. */
    function change(value, control) {
      turn = turn.then(() => write(value, control));
    }

    async function write(value, control) {
      say.className = "say";
      try {
        const done = await call("Change", { setting: row.key, value });
        control?.removeAttribute("aria-invalid");
        say.textContent = !done.note || done.note.endsWith("it counts at once.") ? "Saved." : done.note;
        say.classList.add("good");
        if (!setting.live && runner) say.append(" ", el("button", { type: "button", class: "plain", text: "Start it anew", on: { click: restart } }));
        await follow(control);
      } catch (error) {
        say.textContent = error.message;
        say.classList.add("bad");
        if (row.kind === "text") control.setAttribute("aria-invalid", "true");
        else drawAgain();
        await read();
        if (trouble) say.textContent = "Not changed, because of what is said above.";
      }
    }

    /** As it was: what was refused does not hold. Words stay to be mended. */
    function drawAgain() {
      const within = [...place.querySelectorAll("button, input, select")], at = within.indexOf(document.activeElement);
      draw();
      if (at >= 0) place.querySelectorAll("button, input, select")[at].focus();
    }

    function draw() {
      replace(place, ...[kinds[row.kind](row, setting, about, change)].flat());
      fresh.get(id)?.();
    }

    /** Show the value as it was understood. */
    async function follow(control) {
      const found = (await call("ReadSettings")).settings.find((one) => one.key === row.key);
      Object.assign(setting, found, { twin: false });
      if (row.kind === "text" && document.activeElement !== control) control.value = setting.value;
      look();
    }

    const place = el("div", { class: "control" });
    draw();
    return el("div", { class: row.wide ? "row wide" : "row", "data-key": row.key },
      el("div", {}, el("label", { class: "label", for: id, text: row.label }), el("p", { class: "help", id: `${id}-help`, text: row.help ?? "" })),
      place, say);
  }

  async function restart(event) {
    event.target.disabled = true;
    try {
      await call("StartWorker", { anew: true });
      await look();
    } catch (error) {
      event.target.replaceWith(el("span", { class: "problem", text: error.message }));
    }
  }

  const kinds = {
    text(row, setting, about, change) {
      const input = el("input", { ...about, type: "text", value: setting.value, autocomplete: "off", spellcheck: "false" });
      input.addEventListener("change", () => change(input.value.trim(), input));
      return input;
    },
    switch(row, setting, about, change) {
      const input = el("input", { ...about, type: "checkbox", class: "switch", role: "switch", checked: setting.value.toLowerCase() === "true" });
      input.addEventListener("change", () => change(String(input.checked), input));
      if (row.key === "updates.enabled") fresh.set(about.id, () => withoutUpdater(input, about));
      return input;
    },
    choice(row, setting, about, change) {
      return select(row.choices, setting.value, about, change);
    },
    gpu(row, setting, about, change) {
      const gpus = (runner?.devices ?? []).filter((device) => device.kind !== "cpu");
      const names = gpus.map((device, at) => [gpus.filter((one) => one.name === device.name).length > 1 ? String(at) : device.name, `${device.name}, ${bytes(device.memory_bytes)}`]);
      if (!gpus.length) return el("span", { class: "quiet", id: about.id, text: "No GPU was found" });
      return select([["", "The largest"], ...names], setting.value, about, change);
    },
    share(row, setting, about, change) {
      return share(row, setting, about, change);
    },
    hours(row, setting, about, change) {
      const parts = [hoursTable(setting.value, about.disabled, (text) => change(text, null))];
      if (gridOf(setting.value) === null) parts.push(el("p", { class: "quiet", text: `Set to ${setting.value}, which the grid cannot show; a change here replaces it.` }));
      parts[0].id = about.id;
      return el("div", { class: "steps wide-control" }, ...parts);
    },
  };

  function select(choices, value, about, change) {
    const known = choices.some(([one]) => one === value) ? choices : [...choices, [value, value]];
    const made = el("select", about, ...known.map(([one, text]) => el("option", { value: one, text })));
    made.value = value;
    made.addEventListener("change", () => change(made.value, made));
    return made;
  }

  /** A limit as a slider of per cent, and what that is on this computer. Until it is moved, the limit that holds is told and not its nearest step. */
  function share(row, setting, about, change) {
    const device = () => (runner?.devices ?? []).find((one) => (row.of === "cpu") === (one.kind === "cpu") && (row.of === "cpu" || one.usable !== false)) ?? null;
    const start = () => stepOf(setting, device(), row.usual);
    const slider = el("input", { ...about, type: "range", min: 0, max: 100, step: STEP, value: start() });
    const out = el("output", { for: about.id, id: `${about.id}-out` });
    const use = el("p", { class: "help", id: `${about.id}-use` });
    const tell = () => {
      const found = device();
      const limit = Number(slider.value) === start() ? limitOf(setting) : null;
      const percent = limit?.percent ?? slider.value;
      const lent = found ? ` · ${bytes((found.memory_bytes * percent) / 100)}` : "";
      out.textContent = slider.disabled && !found ? "–" : limit?.size !== undefined ? bytes(limit.size) : `${percent} %${lent}`;
      slider.setAttribute("aria-valuetext", out.textContent);
    };
    slider.addEventListener("input", tell);
    slider.addEventListener("change", () => change(`${slider.value}%`, slider));
    fresh.set(about.id, () => {
      const found = device();
      slider.disabled = about.disabled || (runner !== null && found === null);
      if (document.activeElement !== slider) slider.value = start();
      tell();
      const help = document.getElementById(`${about.id}-help`);
      const computing = runner?.devices.find((one) => one.usable !== false);
      const held = computing && (computing.kind === "cpu") === (row.of === "cpu") ? (runner.memory_in_use ? `, models hold ${bytes(runner.memory_in_use)} now` : ", no model is loaded") : "";
      if (help) help.textContent = found ? `${found.name}, ${bytes(found.memory_bytes)}${held}` : runner ? (row.of === "gpu" ? "No GPU was found that could be used" : "") : "Shown when the worker runs";
    });
    tell();
    return [slider, out];
  }

  /** An installation that something else updates has nothing to switch on. */
  function withoutUpdater(input, about) {
    const update = app?.update;
    const elsewhere = update?.state === "unsupported";
    input.disabled = about.disabled || elsewhere;
    if (elsewhere) input.checked = false;
    const help = document.getElementById(`${about.id}-help`);
    if (help) help.textContent = elsewhere ? update.sentence || "This installation of GoGrid is updated by what installed it (pip, git or a package manager), not by itself." : "";
  }

  const specials = {
    autostart() {
      const input = el("input", { type: "checkbox", class: "switch", role: "switch", id: "autostart" });
      const say = el("p", { class: "say", role: "status" });
      input.addEventListener("change", async () => {
        say.className = "say";
        say.textContent = "";
        try {
          await call("StartAtLogin", { on: input.checked });
        } catch (error) {
          say.textContent = error.message;
          say.classList.add("bad");
          input.checked = app?.autostart ?? false;
        }
        look();
      });
      const made = el("div", { class: "row" }, el("label", { class: "label", for: "autostart", text: "Start at login" }), el("div", { class: "control" }, input), say);
      fresh.set("autostart", () => {
        made.hidden = !app || app.autostart === null;
        if (document.activeElement !== input || !app) input.checked = app?.autostart ?? false;
      });
      return made;
    },
    update() {
      const words = el("span", { id: "update-words" });
      const button = el("button", { type: "button", class: "plain", id: "update-button" });
      const say = el("p", { class: "say", role: "status" });
      button.addEventListener("click", async () => {
        say.className = "say";
        try {
          await call(app?.update.state === "ready" ? "RestartToUpdate" : "CheckForUpdates");
          say.textContent = "";
        } catch (error) {
          say.textContent = error.message;
          say.classList.add("bad");
        }
        look();
      });
      const made = el("div", { class: "row" }, el("div", {}, el("p", { class: "label", text: "Version" }), words), el("div", { class: "control" }, button), say);
      words.className = "help";
      fresh.set("update", () => {
        const update = app?.update ?? { state: "unsupported" };
        made.hidden = !runner && !app;
        words.textContent = [runner?.software.replace("gogrid/", ""), update.sentence].filter(Boolean).join(" · ") || "unknown";
        button.hidden = update.state === "unsupported" || update.state === "off";
        button.disabled = update.state === "checking" || update.state === "downloading";
        button.textContent = update.state === "ready" ? `Restart to update to ${update.version}` : "Check for updates";
      });
      return made;
    },
    join() {
      const button = el("button", { type: "button", class: "plain", text: "Join another…", on: { click: () => show("join") } });
      const words = el("p", { class: "help" });
      fresh.set("join", () => { words.textContent = runner ? (runner.connected ? `Connected to ${runner.coordinator} as ${runner.worker}` : `Not connected: ${whyNot(runner)}`) : ""; });
      return el("div", { class: "row" }, el("div", {}, el("p", { class: "label", text: "Connection" }), words), el("div", { class: "control" }, button));
    },
  };

  return () => { gone = true; stop(); };
}

/** A limit as it is set: per cent, or bytes; null where it is neither. */
function limitOf(setting) {
  const found = /^([\d.]+)\s*(%|[kmgt]?i?b)?$/i.exec(setting.value.trim());
  if (!found) return null;
  if (found[2] === "%") return { percent: Number(found[1]) };
  const unit = (found[2] ?? "gb").toLowerCase();
  return { size: Number(found[1]) * (unit.includes("i") ? 1024 : 1000) ** " kmgt".indexOf(unit[0] === "b" ? " " : unit[0]) };
}

/** The slider's step that is nearest to the limit. */
function stepOf(setting, device, usual) {
  const limit = limitOf(setting);
  const percent = limit?.percent ?? (limit && device ? (limit.size / device.memory_bytes) * 100 : usual);
  return Math.min(100, Math.round(percent / STEP) * STEP);
}

function originOf(setting, fixed) {
  if (fixed) return `Set by ${setting.origin}, which wins over this window: it cannot be changed here.`;
  return setting.twin ? `Set as ${setting.key} in the file.` : "";
}

function labelOf(key) {
  const words = key.split(".")[1].replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}
