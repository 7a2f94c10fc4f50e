// Small plots of equal steps of time, as SVG; their numbers are in a table beside them for who cannot see them.

import { el, svg } from "./dom.js";
import { clock } from "./words.js";

const WIDE = 310, HIGH = 104, LEFT = 38, RIGHT = 6, TOP = 8, BOTTOM = 18;

/** `bars` are stacked from below; `lines` and `area` are numbers or null for "not known". */
export function plot({ title, keys = [], samples, stepS, bars = [], lines = [], area = null, top = 0, shown }) {
  const sums = samples.map((_, at) => bars.reduce((sum, bar) => sum + bar.values[at], 0));
  const most = nice(Math.max(top, ...sums, ...lines.flatMap((line) => line.values.filter((value) => value !== null)), ...(area ?? [0])));
  const wide = (WIDE - LEFT - RIGHT) / samples.length;
  const x = (at) => LEFT + at * wide;
  const y = (value) => TOP + (HIGH - TOP - BOTTOM) * (1 - value / most);
  const parts = [grid(most, y, shown), times(samples, stepS, x, wide)];
  if (area) parts.push(svg("path", { class: "area", d: `M${x(0)} ${y(0)} ${area.map((value, at) => `L${x(at).toFixed(1)} ${y(value).toFixed(1)}L${(x(at) + wide).toFixed(1)} ${y(value).toFixed(1)}`).join("")}L${x(area.length)} ${y(0)}Z` }));
  if (area) parts.push(...path("line-one", area, x, y, wide));
  samples.forEach((sample, at) => {
    let below = 0;
    for (const bar of bars) {
      const value = bar.values[at];
      if (value > 0) parts.push(svg("rect", { class: bar.class, x: (x(at) + wide * 0.1).toFixed(1), width: Math.max(0.8, wide * 0.8).toFixed(1), y: y(below + value).toFixed(1), height: Math.max(1, y(below) - y(below + value)).toFixed(1), rx: wide > 4 ? 1 : 0 }));
      below += value;
    }
  });
  for (const line of lines) parts.push(...path(line.class, line.values, x, y, wide));
  return el("figure", { class: "card plot" },
    el("figcaption", {}, el("span", { text: title }), el("span", {}, ...keys.flatMap((key) => [el("span", { class: `key ${key.class}`, text: `${key.text} ` })]))),
    svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}: highest ${shown(Math.max(0, ...sums, ...(area ?? []), ...lines.flatMap((line) => line.values.map((value) => value ?? 0))))}. The numbers are in the table below.` }, ...parts.flat()));
}

/** The next of 1, 2, 4, 10, 20, 40, … above it: half of it is a short number, too. */
function nice(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 10].map((step) => step * power).find((step) => step >= most * 0.999);
}

function grid(most, y, shown) {
  return [0, most / 2, most].map((value) => svg("g", {},
    svg("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 5, y: y(value) + 3.5, "text-anchor": "end" }, shown(value))));
}

function times(samples, stepS, x, wide) {
  const marks = [0, Math.floor(samples.length / 2), samples.length];
  const anchors = ["start", "middle", "end"];
  return marks.map((at, nth) => {
    const end = at < samples.length ? samples[at].at - stepS : samples[at - 1].at;
    return svg("text", { x: x(0) + at * wide, y: HIGH - 5, "text-anchor": anchors[nth] }, clock(end, stepS >= 3600));
  });
}

/** A line for each stretch without a gap. */
function path(name, values, x, y, wide) {
  const parts = [];
  let points = "";
  values.forEach((value, at) => {
    if (value !== null) points += `${points ? "L" : "M"}${(x(at) + wide / 2).toFixed(1)} ${y(value).toFixed(1)}`;
    if (points && (value === null || at === values.length - 1)) {
      parts.push(svg("path", { class: name, d: points }));
      points = "";
    }
  });
  return parts;
}
