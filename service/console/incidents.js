// GET /v1/incidents -> the lists of incidents: open ones first, those that have ended below. It uses the small
// tools of console.js, which is loaded later and calls drawWork(); texts are inserted as text, never as HTML.
"use strict";

const LIST_EVERY_MS = 5000;
const SIZES = { open: 20, ended: matchMedia("(max-width: 40rem)").matches ? 5 : 10 }; // incidents of a page
const LABELS = { confirmed: "confirmed", false_alarm: "false alarm", expected: "expected" };
const lists = {}; // by name: the cursors of the pages up to the one shown, what was found, why not
for (const name of Object.keys(SIZES)) lists[name] = { cursors: [], found: null, fault: "" };
let listsAt = 0, listTurn = 0;

const timeOf = (at) => (typeof at === "number" ? null : Date.parse(at) / 1000);
const whenOf = (at) => (typeof at === "number" ? `record ${count(at)}` : moment(timeOf(at)));
const whereOf = (group) => (group.kind === "all" || !group.name ? "all records" : `${group.kind} ${group.name}`);
/** Of the incidents that chance brings, the share that is as strong. */
const rareOf = (chance) => (chance > 0.5 ? "like any by chance" : chance < 1e-9 ? "less than 1 in a billion by chance"
  : `1 in ${count(Math.round(1 / chance))} by chance`);
const sideOf = ({ share, above, below }) => (above > share / 2 ? "above" : below > share / 2 ? "below" : "");

/** A span of time in words: its two largest units, or ten and more of one. */
function lasted(seconds) {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "a moment";
  const parts = [];
  let left = Math.round(seconds);
  for (const [name, size] of units.slice(first, first + 2)) {
    const n = Math.floor(left / size);
    left -= n * size;
    if (n) parts.push(counted(n, name));
    if (n >= 10) break;
  }
  return parts.join(" ");
}

function spanOf({ first, last, ongoing }) {
  if (typeof first === "number") return last === first ? "" : `to ${whenOf(last)}`;
  const seconds = (ongoing ? Math.max(state.now, timeOf(last)) : timeOf(last)) - timeOf(first);
  return ongoing ? `for ${lasted(seconds)} so far` : `lasted ${lasted(seconds)}`;
}

/** Called after each poll of the page: the lists are asked for less often. */
function drawWork() {
  routeOnce();
  refreshPrecision();
  if (Date.now() - listsAt < LIST_EVERY_MS) return;
  listsAt = Date.now();
  refreshLists();
  refreshChanges();
  if (opened) loadIncident();
}

/** Without a key nothing of what it showed stays; the address still names an incident that was opened. */
function forgetIncidents() {
  const { hash } = location;
  if ($("incident").open) $("incident").close();
  if (hash.startsWith("#incident=")) history.replaceState(null, "", hash);
  routed = false;
  listsAt = 0;
  $("mark-key").value = "";
  changes = { changes: [], patterns: [], away: false };
  forgetPrecision();
  for (const [name, list] of Object.entries(lists)) {
    Object.assign(list, { cursors: [], found: null, fault: "" });
    delete drawn[`${name}-list`];
    drawList(name);
  }
}

async function refreshLists() {
  const turn = ++listTurn, only = $("find-state").value;
  await Promise.all(Object.keys(lists).map(async (name) => {
    const list = lists[name];
    show(`${name}-part`, !only || only === name);
    if (only && only !== name) return;
    try {
      const found = await (await ask(`v1/incidents?${askedOf(name)}`)).json();
      if (turn !== listTurn) return; // another filter was chosen meanwhile
      list.found = found;
      list.fault = "";
    } catch (error) {
      if (turn !== listTurn) return;
      list.fault = error.status === 503 ? "The store of incidents does not answer. The service goes on scoring, and alarms wait for the store." : error.message;
    }
    redraw(`${name}-list`, [list, minuteOf(name), name === "open" && noneOpen()], () => drawList(name));
  }));
  const faults = [...new Set(Object.values(lists).map((list) => list.fault).filter(Boolean))];
  show("work-fault", faults.length > 0);
  put("work-fault", faults.length ? `${faults.join(" ")} This page tries again.` : "");
}

/** How long open incidents have lasted changes by itself. */
const minuteOf = (name) => (name === "open" ? Math.floor(state.now / 10) : 0);

function askedOf(name) {
  const asked = new URLSearchParams({ state: name, limit: SIZES[name] });
  const group = $("find-group").value.trim(), label = $("find-label").value, rare = $("find-rare").value;
  if (group) asked.set("group", group);
  if (rare) asked.set("chance", rare);
  if (label === "none") asked.set("muted", "false");
  if (label === "muted") asked.set("muted", "true");
  else if (label) asked.set("label", label);
  const cursor = lists[name].cursors.at(-1);
  if (cursor) asked.set("cursor", cursor);
  return asked;
}

const filtered = () => Boolean($("find-group").value.trim() || $("find-label").value || $("find-rare").value);

/** Alarms may be new though all incidents have ended: these go by the times that the records have themselves. */
function noneOpen() {
  const [newest] = lists.ended.found ? lists.ended.found.incidents : [];
  const late = state && state.model.time && state.budget.state === "above" && newest && !lists.ended.cursors.length;
  return late ? `No incident is open. Incidents go by the records' own times, in ${state.model.time}, and the newest ended at ${whenOf(newest.last)}: records that come later than that, or out of order, make incidents that have ended.`
    : "No incident is open.";
}

function drawList(name) {
  const { found, cursors, fault } = lists[name];
  show(`${name}-wait`, !found && !fault);
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : undefined;
  const rows = found ? found.incidents : [];
  const many = rows.length ? ` (${cursors.length || (found && found.next) ? `${count(cursors.length * SIZES[name] + 1)} to ${count(cursors.length * SIZES[name] + rows.length)}` : count(rows.length)})` : "";
  put(`${name}-title`, { open: "Open", ended: "Ended" }[name] + many);
  show(`${name}-table`, rows.length > 0);
  show(`${name}-empty`, Boolean(found) && !rows.length);
  const none = { open: noneOpen(), ended: "No incident has ended yet." }[name];
  put(`${name}-empty`, filtered() || cursors.length ? "None is like that." : none);
  $(`${name}-rows`).replaceChildren(...rows.map(rowOf));
  show(`${name}-newer`, cursors.length > 0);
  show(`${name}-older`, Boolean(found && found.next));
  if (focused) focusRow(focused);
}

function rowOf(one) {
  const names = one.columns.slice(0, 3).map((column) => make("span", { class: "named" }, column.name, " ", make("span", { class: "kind" }, sideOf(column))));
  const rest = one.columns.length > 3 ? [make("span", { class: "kind" }, `and ${one.columns.length - 3} more`)] : [];
  return make("tr", { class: one.muted ? "muted" : null },
    make("th", { scope: "row" }, make("a", { href: `#incident=${one.id}`, "data-id": one.id, "aria-label": `Incident since ${whenOf(one.first)}, ${whereOf(one.group)}` }, whenOf(one.first)),
      make("div", { class: "kind" }, spanOf(one))),
    make("td", null, rareOf(one.chance), make("div", { class: "kind" }, `at its peak ${oneIn(10 ** -one.peak_severity)}`)),
    make("td", null, ...names, ...rest),
    make("td", null, whereOf(one.group), make("div", { class: "kind" }, `${counted(one.alarms, "alarm")} of ${counted(one.records, "record")}`)),
    make("td", null, tagOf(one)));
}

function tagOf(one) {
  const word = one.label ? LABELS[one.label] : one.muted ? "silenced" : "not marked";
  return make("span", { class: `tag said-${one.label || (one.muted ? "expected" : "none")}` }, word);
}

function turnPage(name, older) {
  const { cursors, found } = lists[name];
  if (older) cursors.push(found.next);
  else cursors.pop();
  refreshLists().then(() => { ($(`${name}-rows`).querySelector("a") || $(`${name}-title`)).focus(); });
}

function find() {
  for (const list of Object.values(lists)) { list.cursors = []; list.found = null; }
  refreshLists();
}

function focusRow(id) {
  const link = [...$("work").querySelectorAll("a[data-id]")].find((each) => each.dataset.id === id);
  if (link) link.focus();
  return Boolean(link);
}

/** Arrows go through both lists, as Tab does; Enter opens, since each row is a link. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const links = [...$("work").querySelectorAll("a[data-id]")], at = links.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  links[Math.max(0, Math.min(links.length - 1, at + step))].focus();
}

for (const name of Object.keys(SIZES)) {
  document.getElementById(`${name}-older`).onclick = () => turnPage(name, true);
  document.getElementById(`${name}-newer`).onclick = () => turnPage(name, false);
}
document.getElementById("find-form").onsubmit = (event) => { event.preventDefault(); find(); };
for (const id of ["find-state", "find-label", "find-rare", "find-group"]) document.getElementById(id).onchange = find;
document.getElementById("work").onkeydown = walk;
