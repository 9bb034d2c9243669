// The page: asks the guard every few seconds, draws its answer, and says how old it is when there is
// none. Nothing is worked out here that the guard did not say.

import * as bans from "./bans.js";
import { draw } from "./charts.js";
import { $, ask, duration, element, fill, number, visible } from "./page.js";

const ASK_MS = 2000;
const CHART_MS = 10_000;
const WORST = 10; // rows of a table
const OLD_MS = 10_000; // with no answer for so long what is shown is no longer true

let span = "hour";
let answered = null; // when, by this browser's clock
let trouble = "";

function show(overview) {
  const { status } = overview;
  document.title = `${overview.hostname}: ${number(status.bans)} bans`;
  $("hostname").textContent = overview.hostname;
  $("facts").textContent = `${status.version}, ${status.mode}, up ${duration(status.uptime_s)}`;
  alarms(overview);
  tiles(overview);
  tables(overview);
  bans.offer(overview);
}

function* wrongs({ status, health }) {
  if (status.mode !== "enforce") yield ["doubt", "observe mode: nothing is refused, only counted"];
  if (status.paused_for_s) yield ["wrong", `paused for ${duration(status.paused_for_s)}: nothing is refused`];
  if (String(status.breaker ?? "closed").startsWith("open")) yield ["wrong", `breaker ${status.breaker}`];
  if (status.outage) yield ["wrong", "the mail server refuses everybody: its refusals are not counted"];
  for (const [part, state] of Object.entries(health)) {
    if (state !== "ok") yield ["wrong", `${part}: ${state}`];
  }
}

function alarms(overview) {
  const found = [...wrongs(overview)];
  say(found.length ? found : [["", "All parts are well."]]);
}

function say(lines) {
  const text = lines.map(([, line]) => line).join("\n");
  if ($("alarms").dataset.said === text) return; // readers hear news alone
  $("alarms").dataset.said = text;
  $("alarms").replaceChildren(...lines.map(([kind, line]) => element("li", { class: kind }, line)));
}

function tiles({ status, per_minute: minute, dropped }) {
  const all = [
    ["attack level", status.attack_level, "", status.attack_level === "high"],
    ["sessions", number(status.sessions), ""],
    ["good logins", number(minute.logins_good), "a minute"],
    ["failed logins", number(minute.logins_failed), "a minute"],
    ["refused logins", number(minute.logins_refused), "a minute"],
    ["refused recipients", number(minute.recipients_refused), "a minute"],
    ["bans in force", number(status.bans), `+${number(minute.bans)} a minute`],
    ["packets dropped", dropped === null ? "unknown" : number(minute.dropped), dropped === null ? "" : "a minute"],
  ];
  $("tiles").replaceChildren(...all.map(([name, value, unit, hot]) =>
    element("div", { class: hot ? "hot" : null },
      element("dt", {}, name), element("dd", {}, value, " ", element("small", {}, unit)))));
}

const asker = (what) =>
  element("td", { class: "words" }, element("button", { type: "button", class: "small", click: () => bans.explain(what) }, visible(what)));

function tables(overview) {
  fill($("networks"), [
    ["network", (row) => asker(row.network)],
    ["refusals", (row) => number(row.refusals), "number"],
    ["addresses", (row) => number(row.sources), "number"],
    ["accounts", (row) => number(row.accounts), "number"],
    ["mostly", (row) => row.reason],
  ], overview.networks.slice(0, WORST));
  fill($("accounts"), [
    ["account", (row) => asker(row.account)],
    ["refusals", (row) => number(row.refusals), "number"],
    ["networks", (row) => number(row.networks), "number"],
  ], overview.accounts.slice(0, WORST));
  fill($("listeners"), [
    ["listener", (row) => row.listener],
    ...["handshake", "greeting", "dialogue", "relay"].map((phase) => [phase, (row) => number(row[phase]), "number"]),
  ], overview.listeners);
  fill($("health"), [
    ["part", ([part]) => part],
    ["state", ([, state]) => element("td", { class: state === "ok" ? "words" : "words wrong" }, state)],
  ], Object.entries(overview.health));
}

let begun = false;

async function refresh() {
  try {
    const overview = await ask("/api/overview");
    show(overview);
    if (!begun) bans.begin(overview);
    begun = true;
    answered = Date.now();
    trouble = "";
  } catch (error) {
    trouble = error.message;
  }
  age();
}

async function chart() {
  try {
    draw($("charts"), await ask("/api/series", { span }));
  } catch {
    // `refresh` says that the guard does not answer
  }
}

function age() {
  const ms = answered === null ? 0 : Date.now() - answered;
  const old = Boolean(trouble) && (answered === null || ms > OLD_MS);
  document.body.classList.toggle("old", old);
  $("age").classList.toggle("old", old);
  if (old) say([["wrong", answered === null ? trouble : `${trouble}; what is below is old`]]); // not how old: readers would hear each second
  if (old) $("age").textContent = answered === null ? trouble : `${trouble}; this is ${duration(ms / 1000)} old`;
  else $("age").textContent = answered === null ? "" : "live";
}

/** Again and again, the next one only when the last has ended; not while nobody looks. */
async function keep(work, ms) {
  for (;;) {
    if (!document.hidden) await work();
    await new Promise((resume) => setTimeout(resume, ms));
  }
}

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = button.dataset.span;
    for (const one of document.querySelectorAll("[data-span]")) {
      one.setAttribute("aria-pressed", String(one === button));
    }
    chart();
  });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) { refresh(); chart(); } });
setInterval(() => { age(); bans.tick(); }, 1000);
keep(refresh, ASK_MS);
keep(chart, CHART_MS);
