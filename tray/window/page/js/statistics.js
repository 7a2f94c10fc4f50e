// What the worker did in the last hour, day or week.

import { el, replace } from "./dom.js";
import { plot } from "./plots.js";
import { watch } from "./status.js";
import { call } from "./way.js";
import { bytes, clock, count, percent, rate } from "./words.js";

const SPANS = [["hour", "Hour"], ["day", "Day"], ["week", "Week"]];
const EVERY_MS = 10_000;

export function statisticsPage(content) {
  let span = "hour", gone = false, open = false;
  const body = el("div", { id: "statistics" });
  const now = el("p", { class: "number", id: "tokens-now", text: "0" });
  const choices = SPANS.map(([value, text]) => el("label", {}, el("input", { type: "radio", name: "span", value, checked: value === span, on: { change: () => { span = value; load(); } } }), text));
  content.append(el("h1", { text: "Statistics" }), el("p", { class: "lead", text: "Kept on this computer only." }),
    el("div", { class: "spans", role: "radiogroup", "aria-label": "Time shown" }, ...choices), body);

  async function load() {
    try {
      const found = await call("ReadStatistics", { span });
      if (!gone) present(found);
    } catch (error) {
      if (!gone) replace(body, el("p", { class: "card pad", role: "status", text: `There is nothing to show: ${error.message}` }));
    }
  }

  function present(found) {
    const { samples, step_s: stepS } = found;
    const total = (text, number) => el("div", { class: "card" }, el("p", { class: "quiet", text }), number);
    const number = (text, id) => el("p", { class: "number", id, text });
    const gpuSeen = samples.some((sample) => sample.gpu !== null && sample.gpu !== undefined);
    const gpu = samples.map((sample) => sample.gpu ?? null);
    const about = { samples, stepS };
    replace(body,
      el("div", { class: "totals" },
        total("Jobs done", number(count(found.jobs_done), "jobs-done")), total("Failed", number(count(found.jobs_failed), "jobs-failed")),
        total("Tokens", number(count(found.tokens), "tokens")), total("Tokens/s now", now)),
      el("div", { class: "plots" },
        plot({ ...about, title: "Jobs", shown: count, top: 2, keys: [{ class: "one", text: "done" }, { class: "red", text: "failed" }], bars: [{ class: "one", values: samples.map((sample) => sample.jobs_done) }, { class: "two", values: samples.map((sample) => sample.jobs_failed) }] }),
        plot({ ...about, title: "Tokens a second", shown: rate, top: 1, bars: [{ class: "one", values: samples.map((sample) => sample.tokens / stepS) }] }),
        plot({ ...about, title: gpuSeen ? "Processor and GPU" : "Processor", shown: percent, top: 1, keys: gpuSeen ? [{ class: "one", text: "processor" }, { class: "two", text: "GPU" }] : [], lines: [{ class: "line-one", values: samples.map((sample) => sample.cpu) }, ...(gpuSeen ? [{ class: "line-two", values: gpu }] : [])] }),
        plot({ ...about, title: "Memory of models", shown: bytes, top: 1e9, area: samples.map((sample) => sample.memory) })),
      table(found, stepS, gpuSeen));
  }

  function table(found, stepS, gpuSeen) {
    const heads = ["Until", "Done", "Failed", "Tokens", "Tokens/s", "Processor", ...(gpuSeen ? ["GPU"] : []), "Memory"];
    const busy = found.samples.filter((sample) => sample.jobs_done || sample.jobs_failed || sample.tokens || sample.memory || sample.cpu >= 0.005);
    const rows = busy.reverse().map((sample) => el("tr", {}, ...[clock(sample.at, stepS > 60), count(sample.jobs_done), count(sample.jobs_failed), count(sample.tokens), rate(sample.tokens / stepS), percent(sample.cpu), ...(gpuSeen ? [sample.gpu === null || sample.gpu === undefined ? "–" : percent(sample.gpu)] : []), bytes(sample.memory)].map((text, at) => el(at ? "td" : "th", at ? { text } : { text, scope: "row" }))));
    return el("details", { id: "numbers", open, on: { toggle: (event) => { open = event.target.open; } } },
      el("summary", { text: "The numbers" }),
      busy.length ? el("table", { class: "numbers" }, el("caption", { class: "hidden-but-read", text: "Steps in which something happened, newest first" }), el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col", text })))), el("tbody", {}, ...rows))
        : el("p", { class: "quiet", text: "Nothing has happened in this time." }));
  }

  const stop = watch((overview) => { now.textContent = rate(overview.runner?.tokens_per_s ?? 0); });
  const timer = setInterval(() => { if (!document.hidden) load(); }, EVERY_MS);
  load();
  return () => { gone = true; stop(); clearInterval(timer); };
}
