// The charts: stacked bars of what happened in each step, drawn as SVG from the guard's own counts.

import { element, number, time } from "./page.js";

const WIDTH = 600;
const HEIGHT = 120;
const FOOT = 16; // below the bars, for the times

// Each chart's lines from the ground up: [name of the count, what people read, colour].
const CHARTS = [
  ["Logins", [
    ["logins_good", "good", "good"],
    ["logins_failed", "failed at the mail server", "doubtful"],
    ["logins_refused", "refused here", "bad"],
  ]],
  ["Recipients", [
    ["recipients_accepted", "accepted", "good"],
    ["recipients_refused", "refused", "bad"],
  ]],
  ["Bans made", [["bans", "bans", "bad"]]],
  ["Packets dropped in the kernel", [["dropped", "packets", "plain"]]],
];

/** Draw all charts of a series into `place`. A reader gets each sum in words. */
export function draw(place, series) {
  place.replaceChildren(...CHARTS.map(([title, lines]) => chart(title, lines, series)));
}

function chart(title, lines, series) {
  const rows = lines.map(([name]) => coarse(series.rows[name] ?? [], series.span));
  const sums = rows.map((row) => row.reduce((sum, value) => sum + value, 0));
  const words = lines.map(([, label], index) => `${number(sums[index])} ${label}`).join(", ");
  const caption = element("figcaption", {}, element("strong", {}, title),
    ...lines.map(([, label, colour], index) =>
      element("span", { class: `key ${colour}` }, element("b", {}, `${number(sums[index])} ${label}`))));
  return element("figure", {}, caption, picture(`${title} of the last ${series.span}: ${words}`, lines, rows, series));
}

// An hour comes in steps of 10 s and a day in steps of 5 minutes: bars of a minute and of 15 minutes
// are what can be told apart.
const SLOTS = { hour: 360, day: 288 };
const JOINED = { hour: 6, day: 3 };

function coarse(row, span) {
  const joined = JOINED[span];
  const whole = [...new Array(Math.max(0, SLOTS[span] - row.length)).fill(0), ...row];
  const bars = [];
  for (let at = 0; at < whole.length; at += joined) {
    bars.push(whole.slice(at, at + joined).reduce((sum, value) => sum + value, 0));
  }
  return bars;
}

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function picture(words, lines, rows, series) {
  const count = rows[0].length;
  const totals = rows[0].map((_, at) => rows.reduce((sum, row) => sum + row[at], 0));
  const top = ceiling(Math.max(...totals));
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + FOOT}`, role: "img", "aria-label": words, preserveAspectRatio: "none" });
  for (const level of [0, 0.5, 1]) {
    const y = HEIGHT * (1 - level);
    svg.append(shape("line", { class: "rule", x1: 0, x2: WIDTH, y1: y, y2: y }));
  }
  const ground = new Array(count).fill(0);
  rows.forEach((row, index) => {
    const bars = [];
    row.forEach((value, at) => {
      if (!value) return;
      const height = Math.max((value / top) * HEIGHT, 1);
      const y = HEIGHT - ground[at] - height;
      ground[at] += height;
      const x = (at * WIDTH) / count;
      bars.push(`M${x.toFixed(1)} ${y.toFixed(1)}h${(WIDTH / count - 1).toFixed(1)}v${height.toFixed(1)}h-${(WIDTH / count - 1).toFixed(1)}z`);
    });
    svg.append(shape("path", { class: `bar ${lines[index][2]}`, d: bars.join("") }));
  });
  const figure = element("div", { class: "plot" });
  figure.append(svg, axis(top, series));
  return figure;
}

/** What the top and the ends of a chart stand for. */
function axis(top, series) {
  const length = SLOTS[series.span] * series.step_s;
  const now = series.since + (series.rows.bans?.length ?? 0) * series.step_s;
  const each = series.span === "hour" ? "a minute" : "a quarter of an hour";
  return element("p", { class: "scale" },
    element("span", {}, time(now - length)), element("span", {}, `${number(top)} ${each} at the top`), element("span", {}, "now"));
}

/** The next of 1, 2, 5, 10, 20 … that is no less. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}
