// The worker's state at the side: asked every two seconds while the window is seen.

import { call } from "./way.js";

const EVERY_MS = 2000;
const NAMES = {
  starting: "Starting", ready: "Ready", working: "Working", paused: "Paused", trouble: "Trouble",
  not_joined: "Not joined", stopped: "Not running",
};
const listeners = new Set();
let last = null;

/** Called with every new overview, and at once with the last one; returns how to end it. */
export function watch(listener) {
  listeners.add(listener);
  if (last) listener(last);
  return () => listeners.delete(listener);
}

export async function look() {
  try {
    last = await call("Look");
  } catch (error) {
    last = { app: null, runner: null, joined: true, problem: error.message };
  }
  show(last);
  for (const listener of listeners) listener(last);
}

export function startLooking() {
  look();
  setInterval(() => { if (!document.hidden) look(); }, EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  button.addEventListener("click", () => press(button, last?.runner ? "Pause" : "StartWorker"));
  resume.addEventListener("click", () => press(resume, "Resume"));
}

const button = document.getElementById("state-button"), resume = document.getElementById("state-resume");

function show(overview) {
  const state = stateOf(overview);
  document.getElementById("state-dot").dataset.state = state;
  put("state-word", NAMES[state]);
  const sentence = sentenceOf(overview, state);
  put("state-sentence", sentence.toLowerCase() === NAMES[state].toLowerCase() ? "" : sentence);
  put("state-coordinator", overview.runner?.connected ? `Coordinator: ${overview.runner.coordinator}` : "");
  // Like the tray's menu: there is something to resume only where the owner has ordered something.
  const order = overview.runner?.order ?? "";
  button.hidden = order === "pause" || (!overview.runner && !(overview.app && overview.joined));
  button.textContent = overview.runner ? "Pause" : "Start";
  resume.hidden = order === "";
  if (order === "") put("state-note", "");
}

function put(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;  // a screen reader hears changes only
}

function stateOf(overview) {
  if (overview.app) return overview.app.state;
  if (!overview.joined) return "not_joined";
  if (!overview.runner) return "stopped";
  if (overview.runner.readiness === "paused" || overview.runner.readiness === "draining") return "paused";
  if (overview.runner.readiness === "unable" || !overview.runner.connected) return "trouble";
  return overview.runner.jobs.length ? "working" : "ready";
}

function sentenceOf(overview, state) {
  if (overview.problem) return overview.problem;
  if (overview.app) return overview.app.sentence;
  if (state === "not_joined") return "This computer has joined no coordinator yet.";
  if (!overview.runner) return "No worker is running.";
  return overview.runner.connected ? overview.runner.reason : overview.runner.connection;
}

async function press(pressed, order) {
  pressed.disabled = true;
  try {
    const done = await call(order);
    await look();
    put("state-note", done.note ?? "");
  } catch (error) {
    put("state-sentence", error.message);
  }
  pressed.disabled = false;
}
