// GET /console/incidents/ID -> the dialog of one incident, which a link #incident=ID opens. It uses the small
// tools of console.js; texts are inserted as text, never as HTML.
"use strict";

let opened = ""; // the id that the address names
let incident = null, silencer = null, routed = false;

function routeOnce() {
  if (!routed) { routed = true; route(); }
}

function route() {
  const found = /^#incident=([0-9A-Za-z_-]{1,64})$/.exec(location.hash);
  if (found && state) openIncident(found[1]);
  else if ($("incident").open) $("incident").close();
}

function openIncident(id) {
  if (opened === id && $("incident").open) return;
  opened = id;
  incident = silencer = null;
  delete drawn.incident;
  put("incident-title", "Incident");
  put("incident-note", "Loading");
  show("incident-body", false);
  resetMark();
  if (!$("incident").open) $("incident").showModal();
  $("incident").scrollTop = 0;
  $("incident-title").focus();
  loadIncident();
}

async function loadIncident() {
  const id = opened;
  try {
    const found = await (await ask(`console/incidents/${id}`)).json();
    if (id === opened) drawIncident(found);
  } catch (error) {
    if (id !== opened) return;
    const away = "The store of incidents does not answer; this page tries again.";
    put("incident-note", error.status === 404 ? error.message : error.status === 503 ? away : `Not loaded: ${error.message}`);
    if (error.status === 404) { put("incident-title", "No such incident"); show("incident-body", false); }
  }
}

/** Focus goes back to the row that was opened, also if the list was drawn again meanwhile. */
function closed() {
  const id = incident ? incident.id : opened;
  opened = "";
  incident = null;
  if (location.hash.startsWith("#incident=")) history.replaceState(null, "", location.pathname + location.search);
  if (!focusRow(id)) $("work-title").focus();
}

function drawIncident({ incident: one, pattern, similar }) {
  incident = one;
  silencer = pattern;
  const names = one.columns.slice(0, 3).map((column) => column.name).join(", ");
  put("incident-title", `${names || "Alarms"} in ${whereOf(one.group)}`);
  put("incident-note", one.id === opened ? "" : `The link is to incident ${opened}, which has become a part of this one.`);
  $("incident-link").href = `#incident=${one.id}`;
  const memory = state.recent.alarms;
  redraw("incident", [one, pattern, similar, memory, state.keys, state.may_mark], () => {
    show("incident-body", true);
    drawFacts(one);
    drawExamples(one, memory);
    drawLike(one, memory);
    drawSaid(one, pattern);
    drawSimilar(similar);
    drawMark(one, pattern);
  });
}

function drawFacts(one) {
  const facts = [
    ["Since", `${whenOf(one.first)}, ${spanOf(one)}`], ["State", one.ongoing ? "open" : `ended; last alarm ${whenOf(one.last)}`],
    ["Where", whereOf(one.group)],
    ["Alarms", `${count(one.alarms)} among ${counted(one.records, "record")}; ${value(one.expected, 2)} expected by chance`],
    ["How rare", rareOf(one.chance)], ["At its peak", oneIn(10 ** -one.peak_severity)],
    ["Receivers", one.notified ? `told ${whenOf(one.notified)}` : "not told"],
  ];
  $("incident-facts").replaceChildren(...facts.flatMap(([name, text]) => [make("dt", null, name), make("dd", null, text)]));
  $("incident-columns").replaceChildren(...one.columns.slice(0, 8).map((column) => make("div", { class: "cause" }, make("b", null, column.name),
    meter(column.share, true), make("span", { class: "values" }, `${percent(column.share)} of alarms${sideOf(column) ? `, ${sideOf(column)}` : ""}`))));
}

/** Values are those that the page remembers of a record of the same id, if it may show them. */
function drawExamples(one, memory) {
  $("example-rows").replaceChildren(...one.examples.map((example) => {
    const known = example.record && state.values ? memory.find((alarm) => alarm.place && alarm.place.id === example.record) : null;
    const causes = known ? known.reasons.map((cause) => make("div", null, make("b", null, cause.column), ` ${agoOf(cause)}${beside(cause)}`))
      : example.reasons.map((reason) => make("div", null, make("b", null, reason.column), reason.direction ? ` ${reason.direction}` : ""));
    return make("tr", null, make("th", { scope: "row" }, whenOf(example.at), example.record ? make("div", { class: "kind" }, `id ${example.record}`) : null),
      make("td", null, oneIn(example.p_value)), make("td", null, ...causes, ...[known && coursesOf(known.lines)].filter(Boolean)));
  }));
}

/** The page remembers the last alarms, with their windows; which of them are of this incident it does not know. */
function drawLike(one, memory) {
  const names = new Set(one.columns.map((column) => column.name));
  const shown = new Set(one.examples.map((example) => example.record).filter(Boolean));
  const like = memory.filter((alarm) => alarm.reasons.length && names.has(alarm.reasons[0].column)
    && !(alarm.place && shown.has(alarm.place.id))).slice(0, 3);
  show("like", like.length > 0 && state.values);
  $("like-list").replaceChildren(...like.map((alarm) => make("li", null, make("b", null, clock(alarm.at)), `, ${oneIn(alarm.p_value)}`,
    ...alarm.reasons.map((cause) => make("div", null, make("b", null, cause.column), ` ${agoOf(cause)}${state.values ? beside(cause) : ""}`)),
    ...[coursesOf(alarm.lines)].filter(Boolean))));
  put("example-note", state.values ? "" : "Values of records are hidden; start the service with --console-values to show them.");
}

const byOf = ({ by, at }) => `${by ? `by ${by}, ` : ""}${whenOf(at)}`;

function drawSaid(one, pattern) {
  const words = { ...LABELS, withdrawn: "withdrawn" };
  show("said-empty", !one.marks.length);
  $("said-list").replaceChildren(...one.marks.slice().reverse().map((mark) => make("li", null, make("b", null, words[mark.label]), ` ${byOf(mark)}`,
    mark.until ? `, until ${whenOf(mark.until)}` : "", mark.reason ? make("div", { class: "values" }, mark.reason) : null)));
  show("silencer", Boolean(pattern));
  if (pattern) put("silencer-text", `${pattern.active ? "Silenced" : "It was silenced"} until ${whenOf(pattern.ended || pattern.until)} `
    + `(${patternText(pattern)}), ${byOf(pattern)}${pattern.reason ? `: ${pattern.reason}` : ""}`);
  show("silencer-end", Boolean(pattern && pattern.active));
}

function drawSimilar(similar) {
  show("similar-empty", !similar.length);
  $("similar-list").replaceChildren(...similar.map((each) => make("li", null,
    make("a", { href: `#incident=${each.id}` }, whenOf(each.first)), ` ${each.group || "all records"}, ${counted(each.alarms, "alarm")} `, tagOf(each),
    each.label && each.at ? make("div", { class: "values" }, `${byOf(each)}${each.reason ? `: ${each.reason}` : ""}`) : null)));
}

async function copyLink(event) {
  if (!navigator.clipboard) return; // without TLS the link itself remains, to be copied by hand
  event.preventDefault();
  try {
    await navigator.clipboard.writeText($("incident-link").href);
    put("mark-status", "The link is copied.");
  } catch { put("mark-status", "The link was not copied: copy the address of this page."); }
}

document.getElementById("incident").addEventListener("close", closed);
document.getElementById("incident-close").onclick = () => $("incident").close();
document.getElementById("incident-link").onclick = copyLink;
addEventListener("hashchange", route);
