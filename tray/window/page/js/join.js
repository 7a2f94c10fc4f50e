// From a pasted token to the first answer: what the token says, what its coordinator is, join, connected, a test.

import { el, replace } from "./dom.js";
import { look, watch } from "./status.js";
import { call } from "./way.js";
import { until, whyNot } from "./words.js";

const PATIENCE_MS = 1000;

export function joinPage(content, show) {
  const token = el("textarea", { id: "token", rows: 3, spellcheck: "false", autocomplete: "off", "aria-describedby": "token-help token-problem", on: { input: () => readSoon() } });
  const problem = el("p", { id: "token-problem", class: "problem", role: "alert" });
  const name = el("input", { type: "text", id: "worker-name", maxlength: 64, placeholder: "this computer's name", autocomplete: "off" });
  const shown = el("div", { id: "token-shown" });
  const after = el("div", { id: "after" });
  const begin = el("div", { class: "steps", id: "begin" },
    el("p", { class: "lead", text: "Paste the token that your coordinator's admin gave you. Until you join, nothing of it or of this computer is sent: the coordinator is only asked for its name." }),
    el("div", {},
      el("label", { for: "token", text: "Join token" }),
      token,
      el("p", { id: "token-help", class: "quiet", text: "One line that starts with ggj1_. How often it works, its admin has set." }),
      problem),
    shown);
  const already = el("p", { class: "lead", id: "already", hidden: true });
  const tryIt = el("button", { type: "button", class: "main", id: "try", text: "See it answer", hidden: true, on: { click: tryNow } });
  content.append(el("h1", { text: "Join a coordinator" }), already, tryIt, begin, after);

  let timer = 0, asked = 0, gone = false, joining = false, pid = 0;
  const stopWatching = watch((overview) => {
    if (after.childElementCount > 0) return;
    const runner = overview.runner;
    already.hidden = !overview.joined;
    tryIt.hidden = !runner?.connected;
    if (!joining) pid = runner?.pid ?? 0;
    already.textContent = !runner ? "This computer has joined a coordinator already. Another token replaces that."
      : runner.connected ? `This computer works for the coordinator at ${runner.coordinator}, as ${runner.worker}. Another token replaces that; what runs here goes on elsewhere.`
      : `This computer has joined the coordinator at ${runner.coordinator}, which it does not reach: ${whyNot(runner)} Another token replaces that.`;
  });

  function readSoon() {
    clearTimeout(timer);
    replace(shown);  // what was pasted before is not what is joined with
    timer = setTimeout(read, 150);
  }

  async function read() {
    const mine = ++asked;
    const text = token.value.trim();
    replace(shown);
    problem.textContent = "";
    token.removeAttribute("aria-invalid");
    if (!text) return;
    try {
      const found = await call("ReadToken", { token: text });
      if (mine === asked) present(found, text, mine);
    } catch (error) {
      if (mine !== asked) return;
      problem.textContent = error.message;
      token.setAttribute("aria-invalid", "true");
    }
  }

  function present(found, text, mine) {
    const called = el("span", { id: "coordinator-name", class: "quiet", text: "asking who answers there…" });
    const join = el("button", { type: "button", class: "main", id: "join", text: "Join", on: { click: () => joinNow(text, join) } });
    replace(shown, el("div", { class: "card pad steps" },
      el("dl", {},
        el("dt", { text: "Coordinator" }), el("dd", {}, called),
        el("dt", { text: "Address" }), el("dd", { id: "coordinator-address", text: found.addresses.join(", ") }),
        el("dt", { text: "Its words" }), el("dd", { class: "words", id: "pin-words", text: found.words, title: `SHA-256 ${found.pin}` }),
        el("dt", { text: "Good until" }), el("dd", { text: until(found.expires_at) + (found.needs_approval ? "; its admin approves each computer" : "") })),
      el("p", { class: "quiet", text: "The admin sees the same six words. If they differ, do not join." }),
      el("div", {}, el("label", { for: "worker-name", text: "Name of this computer there" }), name),
      el("div", { class: "actions" }, join)));
    call("AskName", { token: text }).then(
      (named) => { if (mine === asked) { called.textContent = named.name; called.className = ""; } },
      (error) => { if (mine === asked) { called.textContent = error.message; called.className = "problem"; } });
  }

  async function joinNow(text, join) {
    join.disabled = joining = true;
    join.textContent = "Joining…";
    problem.textContent = "";
    try {
      const joined = await call("Join", { token: text, name: name.value.trim() });
      token.value = "";
      begin.hidden = already.hidden = tryIt.hidden = true;
      carryOn(joined);
    } catch (error) {
      problem.textContent = error.message;
      join.disabled = joining = false;
      join.textContent = "Join";
      problem.scrollIntoView({ block: "nearest" });
    }
  }

  /** Joined: wait for the connection, then ask the first question. */
  function carryOn(joined) {
    const steps = {
      joined: el("li", { "data-done": "yes", text: `Joined ${joined.coordinator} at ${joined.address} as ${joined.worker}` }),
      connected: el("li", { "data-done": joined.started ? "now" : "no", text: joined.started ? "Starting the worker…" : joined.note }),
      test: el("li", { text: "First answer" }),
    };
    const result = progress(steps);
    if (joined.pending) steps.connected.textContent = "Waiting until the coordinator's admin approves this computer…";
    if (joined.started) waitForConnection(steps, result, joined.pending);
  }

  function tryNow() {
    tryIt.hidden = true;
    const steps = { test: el("li", { text: "An answer" }) };
    test(steps, progress(steps));
  }

  /** Show the steps; returns where the answer goes. */
  function progress(steps) {
    const result = el("div", { id: "test-result", class: "steps", role: "status" });
    replace(after, el("div", { class: "card pad steps" }, el("ol", { class: "progress", "aria-label": "Progress" }, ...Object.values(steps)), result));
    content.focus();
    return result;
  }

  function waitForConnection(steps, result, pending) {
    const stop = watch((overview) => {
      if (gone) return stop();
      if (overview.runner?.pid === pid) return;  // the one that worked for the coordinator before
      if (overview.runner?.connected) {
        stop();
        steps.connected.textContent = "Connected";
        steps.connected.dataset.done = "yes";
        test(steps, result);
      } else if (!pending && overview.runner) steps.connected.textContent = `Connecting: ${whyNot(overview.runner)}`;
      else if (overview.app?.state === "trouble") steps.connected.textContent = overview.app.sentence;
    });
    const hurry = setInterval(() => (gone || steps.connected.dataset.done === "yes" ? clearInterval(hurry) : look()), 400);
  }

  async function test(steps, result) {
    steps.test.dataset.done = "now";
    try {
      let run = await call("Test", { begin: true });
      while (run.state === "working" && !gone) {
        steps.test.textContent = run.model ? `First answer, from ${run.model}: ${run.sentence}` : `First answer: ${run.sentence}`;
        if (run.answer) replace(result, el("p", { class: "answer", text: run.answer }));
        await new Promise((later) => setTimeout(later, PATIENCE_MS / 4));
        run = await call("Test");
      }
      if (!gone) told(run, steps, result);
    } catch (error) {
      told({ state: "failed", sentence: error.message }, steps, result);
    }
  }

  function told(run, steps, result) {
    const well = run.state === "done";
    steps.test.dataset.done = well ? "yes" : "no";
    steps.test.textContent = well ? "First answer" : "No first answer";
    const again = el("button", { type: "button", class: "plain", text: "Try again", on: { click: () => { replace(result); test(steps, result); } } });
    const onward = el("button", { type: "button", class: "main", id: "onward", text: "Choose what to lend", on: { click: () => show("settings") } });
    const buttons = el("div", { class: "actions" }, onward, again);
    if (!well) replace(result, el("p", { class: "problem", text: run.sentence }), buttons);
    else replace(result,
      el("p", { class: "quiet", text: run.question }),
      el("p", { class: "answer", id: "answer", text: run.answer }),
      el("p", { class: "quiet", id: "answered-by", text: run.model
        ? `Answered by ${run.model} on this computer: ${run.tokens} tokens in ${run.seconds} s.`
        : `The coordinator has no model that can chat yet, so this computer ran a short script in its sandbox, in ${run.seconds} s.` }),
      buttons);
  }

  if (!begin.hidden) token.focus({ preventScroll: true });
  return () => { gone = true; stopWatching(); };
}
