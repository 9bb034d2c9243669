// The list of bans: searched by the guard, a page at a time, and lifted by who has the token.

import { $, ask, duration, element, fill, number, tell, time, visible } from "./page.js";

const TOKEN = "gatekeeper-token"; // in this tab alone, until it is closed

let shown = []; // rows, with `ends` by this browser's clock
let following = null; // what the next look asks for
let asked = 0; // looks so far: an answer to an earlier one is late

const token = () => sessionStorage.getItem(TOKEN);

/** Take the choices from the guard, and begin. */
export function begin(overview) {
  for (const [id, values] of Object.entries(overview.choices)) {
    $(id).append(...values.map((value) => element("option", { value }, value)));
  }
  $("search").addEventListener("submit", (event) => { event.preventDefault(); look(); });
  for (const id of ["scope", "origin"]) $(id).addEventListener("change", look);
  $("more").addEventListener("click", further);
  $("key").addEventListener("submit", (event) => { event.preventDefault(); unlock(); });
  look();
}

/** Whether the guard lifts bans for a token may change while the page is open. */
export function offer(overview) {
  $("key").hidden = !overview.lifting || Boolean(token());
  $("bans-count").textContent = `${number(overview.status.bans)} in force`;
  if (!overview.lifting) forget();
}

/** Draw the time left anew; those that have ended go. */
export function tick() {
  const now = Date.now() / 1000;
  for (const cell of document.querySelectorAll("td[data-ends]")) {
    const left = Number(cell.dataset.ends) - now;
    cell.textContent = left > 0 ? duration(left) : "ended";
  }
}

async function look() {
  shown = [];
  following = null;
  await get({});
}

const further = () => get(following);

async function get(where) {
  const fields = { q: $("query").value, scope: $("scope").value, origin: $("origin").value, ...where };
  const mine = ++asked;
  say("looking …");
  try {
    const found = await ask("/api/bans", fields);
    if (mine === asked) take(found, where);
  } catch (error) {
    if (mine === asked) say(error.message, true);
  }
}

function take(found, where) {
  const now = Date.now() / 1000; // of this clock, which need not be the guard's
  shown.push(...found.bans.map((ban) => ({ ...ban, ends: now + ban.remaining_s })));
  const rest = found.matching - found.skip - found.bans.length;
  if (rest > 0) following = { ...where, skip: found.skip + found.bans.length };
  else if (found.next != null) following = { from: found.next, skip: 0 };
  else following = null;
  $("more").hidden = following === null;
  say(words(found, rest));
  draw();
}

function words(found, rest) {
  if (!shown.length && found.next == null) return "No ban matches.";
  if (found.latest) return `The latest ${number(shown.length)}; search for others, or look further through all.`;
  if (found.next != null) return `${number(shown.length)} shown. Looked through ${number(found.passed)} of ${number(found.known)}.`;
  return rest > 0 ? `${number(shown.length)} shown, ${number(rest)} more.` : `${number(shown.length)} in all.`;
}

function say(text, wrong = false) {
  $("bans-said").textContent = text;
  $("bans-said").classList.toggle("wrong", wrong);
}

function draw() {
  const columns = [
    ["address or network", (ban) => element("td", {}, element("button", { type: "button", class: "small", click: () => explain(ban.prefix) }, ban.prefix))],
    ["ports", (ban) => ban.scope],
    ["why", (ban) => ban.reason],
    ["made by", (ban) => ban.origin],
    ["level", (ban) => number(ban.level), "number"],
    ["since", (ban) => time(ban.since)],
    ["left", (ban) => element("td", { class: "number", "data-ends": ban.ends }, "")],
    ["note", (ban) => visible(ban.note), "words"],
  ];
  if (token()) columns.push(["", (ban) => lifter(ban)]);
  fill($("bans"), columns, shown);
  tick();
}

function lifter(ban) {
  const button = element("button", { type: "button", class: "small", "aria-label": `lift the ban of ${ban.prefix}, ${ban.scope}`, click: () => lift(ban, button) }, "lift");
  return element("td", {}, button);
}

async function lift(ban, button) {
  if (button.textContent === "lift") { // a second click is the confirmation
    button.textContent = "really?";
    setTimeout(() => { if (!button.disabled) button.textContent = "lift"; }, 4000);
    return;
  }
  button.disabled = true;
  try {
    await tell("/api/lift", token(), { prefix: ban.prefix, scope: ban.scope });
    shown = shown.filter((other) => other !== ban);
    draw();
    say(`The ban of ${ban.prefix} is lifted.`);
  } catch (error) {
    button.disabled = false;
    button.textContent = "lift";
    say(error.message, true);
    if (error.message.includes("token")) forget();
  }
}

async function unlock() {
  const given = $("token").value.trim();
  $("token").value = "";
  try {
    await tell("/api/token", given);
    sessionStorage.setItem(TOKEN, given);
    $("key").hidden = true;
    draw();
  } catch (error) {
    $("key-said").textContent = error.message;
    $("key-said").classList.add("wrong");
  }
}

function forget() {
  if (!token()) return;
  sessionStorage.removeItem(TOKEN);
  draw();
}

/** What `gatekeeper explain` says of somebody. */
export async function explain(what) {
  $("explain-title").textContent = visible(what);
  $("explain-text").textContent = "…";
  $("explain").showModal();
  try {
    $("explain-text").textContent = (await ask("/api/explain", { what })).lines.join("\n");
  } catch (error) {
    $("explain-text").textContent = error.message;
  }
}
