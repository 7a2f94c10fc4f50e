// The one way out of this page: a named call with its arguments, answered by one reply or refused in words.

export class Refusal extends Error {}

const ways = {
  /** pywebview's bridge, which appears some time after the page. */
  async window(text) {
    if (!window.pywebview?.api?.call)
      await new Promise((ready) => window.addEventListener("pywebviewready", ready, { once: true }));
    return window.pywebview.api.call(text);
  },
  /** The tests' server. */
  async http(text) {
    const reply = await fetch("call", { method: "POST", body: text });
    return reply.text();
  },
};

const way = ways[document.querySelector('meta[name="gogrid-way"]').content];

/** Raises Refusal with a sentence for people. */
export async function call(type, about = {}) {
  let reply;
  try {
    reply = JSON.parse(await way(JSON.stringify({ type, ...about })));
  } catch {
    throw new Refusal("The window has lost its program; close it and open it again.");
  }
  if (reply.type === "Failed" || reply.type === "Refused") throw new Refusal(reply.reason);
  return reply;
}
