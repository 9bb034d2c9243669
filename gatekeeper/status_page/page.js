// Elements, words and requests: what every part of the page uses. Strangers choose names, so all of
// it is put in as text; the page's policy lets nobody do otherwise.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Text that shows what is in it: no control character, and none that turns the direction. */
export const visible = (text) => text.replace(/\p{C}/gu, (one) =>
  `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);

/** Rows under headings. A column is [heading, cell of a row, class]. */
export function fill(table, columns, rows) {
  const heads = columns.map(([heading, , kind]) => element("th", { class: kind, scope: "col" }, heading));
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map(([, cell, kind]) => made(cell(row), kind))));
  if (!rows.length) body.push(element("tr", {}, element("td", { class: "none", colspan: columns.length }, "none")));
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
}

function made(content, kind) {
  if (content instanceof HTMLTableCellElement) return content;
  return element("td", { class: kind }, content);
}

/** The answer to a GET, or an Error whose message is for people. */
export const ask = (path, fields = {}) => answer(`${path}?${new URLSearchParams(fields)}`, {});

/** The same of a POST. The token goes in a header: no history and no log keeps it. */
export const tell = (path, token, body) => answer(path, {
  method: "POST",
  headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
  body: body && JSON.stringify(body),
});

const PATIENCE_MS = 8000;

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Error("the guard does not answer");
  }
  let said;
  try {
    said = await response.json();
  } catch {
    throw new Error(`the guard answers ${response.status}`);
  }
  if (!response.ok) throw new Error(said.error ?? `the guard answers ${response.status}`);
  return said;
}

const many = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const number = (value) => (Math.abs(value) < 100_000 ? many : short).format(value);

/** 93784 as "1d 2h": the two largest units. */
export function duration(seconds) {
  const left = Math.max(0, Math.round(seconds));
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => left >= size);
  if (first < 0) return "0s";
  const [unit, size] = units[first];
  const whole = `${Math.floor(left / size)}${unit}`;
  if (first + 1 === units.length) return whole;
  const [below, part] = units[first + 1];
  const rest = Math.floor((left % size) / part);
  return rest ? `${whole} ${rest}${below}` : whole;
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat([], { month: "short", day: "numeric" });

/** A time of day; the date before it unless it is today. `at` is in Unix seconds. */
export function time(at) {
  const when = new Date(at * 1000);
  const today = when.toDateString() === new Date().toDateString();
  return today ? clock.format(when) : `${day.format(when)} ${clock.format(when)}`;
}
