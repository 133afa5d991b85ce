// GET /console/state, every two seconds -> the page. Texts are inserted as text, never as HTML: names
// of columns and categories come from files that anybody may have written.
"use strict";

const EVERY_MS = 2000, PATIENCE_MS = 8000, LATENCY_SECONDS = 60, COLUMNS_SHOWN = 10, ALARMS_SHOWN = 6;
const SLOTS = 60, WIDTHS = [1, 2, 3, 6]; // columns of the picture, and how many spans one may hold
const EVIDENCE = 2, MUCH = 0.25;
const $ = (id) => document.getElementById(id);
let key = sessionStorage.getItem("vaewatch-key") || "";
let state = null, card = null, lastAnswer = 0, timer = 0, allColumns = false, allAlarms = false;
const polls = []; // latency counts of the last minute, to see what is new
const drawn = {}; // the data that each part shows

// ---- small tools

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
const show = (id, yes) => { $(id).hidden = !yes; };
const count = (n) => n.toLocaleString("en");
const counted = (n, word, words = `${word}s`) => `${count(n)} ${n === 1 ? word : words}`;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const moment = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
const oneIn = (p) => (p > 0.5 ? "an everyday record" : `1 normal record in ${count(Math.round(1 / p))}`);

function percent(share) {
  if (share === 0) return "0%";
  return share < 0.001 ? "< 0.1%" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}

function value(x, digits = 4) {
  if (x === null || x === undefined) return "missing";
  if (typeof x !== "number") return String(x);
  return Number.isInteger(x) ? count(x) : String(Number(x.toPrecision(digits)));
}

/** The observed value beside the expected one, with as many digits as tell them apart. */
function beside({ observed, expected }) {
  let digits = 4;
  while (digits < 17 && value(observed, digits) === value(expected, digits)) digits++;
  return `${value(observed, digits)}, expected ${value(expected, digits)}`;
}

/** Where in its window a reason lies; nothing for a model that judges each record by itself. */
const agoOf = ({ ago }) => (ago ? `${counted(ago, "record")} ago: ` : "");

const summed = (reasons) => reasons.reduce((sum, reason) => sum + reason.contribution, 0) || 1;

function meter(share, hot) {
  const bar = make("div");
  bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("div", { class: hot ? "meter hot" : "meter", "aria-hidden": "true" }, bar);
}

/** Draw a part only if its data have changed: focus and selection stay where they are. */
function redraw(part, data, draw) {
  const text = JSON.stringify(data);
  if (drawn[part] !== text) { drawn[part] = text; draw(); }
}

// ---- requests

class Refused extends Error {
  constructor(status, problem) {
    super((problem && problem.detail) || `the service answered ${status}`);
    this.status = status;
    this.errors = (problem && problem.errors) || [];
  }
}

async function ask(path, options = {}, patience = PATIENCE_MS) {
  const headers = { ...options.headers };
  const sent = options.key || key;
  if (sent) headers.authorization = `Bearer ${sent}`;
  const answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(patience) })
    .catch(() => { throw new Refused(0, { detail: "the service does not answer." }); });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
  return answer;
}

async function poll() {
  clearTimeout(timer);
  try {
    const found = await (await ask("console/state")).json();
    if (!card || card.version !== found.model.version) {
      card = await (await ask("v1/model")).json();
      drawForm();
    }
    state = found;
    lastAnswer = Date.now();
    draw();
    enter("live");
  } catch (error) {
    if (error.status === 401 || error.status === 403) lock(error);
    else enter(state ? "stale" : "dead");
  }
  clearTimeout(timer); // of another poll that was under way
  if (document.body.dataset.phase !== "locked" && !document.hidden) timer = setTimeout(poll, EVERY_MS);
}

/** The phases: loading, live, stale (the last poll had no answer), dead (none ever had), locked. */
function enter(phase) {
  document.body.dataset.phase = phase;
  for (const name of ["loading", "dead", "locked"]) show(name, phase === name);
  show("shown", phase === "live" || phase === "stale");
  show("stale", phase === "stale");
  show("forget", Boolean(key) && phase !== "locked");
  const since = clock(lastAnswer / 1000);
  const word = { live: "live", stale: "no answer", dead: "no answer", locked: "locked", loading: "connecting" }[phase];
  put("link", word);
  if (phase === "stale") put("stale", `No answer from the service since ${since}. This page shows what it knew then.`);
  const titles = { live: state && state.health.headline, locked: "Key needed", loading: "Connecting" };
  document.title = `${titles[phase] || "No answer"} · vaewatch`;
}

function lock(error) {
  const tried = Boolean(key);
  setKey("");
  state = card = null;
  forgetIncidents();
  put("locked-why", tried ? `Refused: ${error.message}` : "A key with the score scope shows everything here.");
  enter("locked");
  $("key").focus();
}

function setKey(text) {
  key = text;
  if (text) sessionStorage.setItem("vaewatch-key", text);
  else sessionStorage.removeItem("vaewatch-key");
}

// ---- the parts

function draw() {
  put("model-name", `${state.model.name} ${state.model.version}`);
  redraw("health", state.health, drawHealth);
  drawFollow();
  drawFigures();
  drawWork();
  redraw("chart", [state.recent.spans, changes, Math.floor(state.now / state.span_seconds)], drawChart);
  redraw("alarms", [state.recent.alarms, allAlarms], drawAlarms);
  redraw("columns", [state.columns, allColumns], drawColumns);
  redraw("segments", [state.segments, state.budget.records], drawSegments);
  redraw("models", [state.model, state.shadow], drawModels);
  put("csv-limit", `Up to ${counted(state.max_records, "row")}; each comes back unchanged, with its verdict after it. `
    + "Larger files: vaewatch score.");
  put("about", `vaewatch ${state.release}, ${counted(state.workers, "worker")}; updated every ${EVERY_MS / 1000} seconds.`);
}

function drawHealth() {
  const { level, headline, text, look_at: looks } = state.health;
  $("health").dataset.level = level;
  put("headline", headline);
  put("health-text", text);
  show("looks", looks.length > 0);
  $("look-at").replaceChildren(...looks.map(({ column, why }) =>
    make("li", null, make("a", { href: `#${rowId(column)}` }, column), ` ${why}`)));
}

const rowId = (column) => `column-${state.columns.findIndex((c) => c.name === column)}`;

function drawFigures() {
  const { budget, records, evidence } = state;
  const since = Math.ceil((state.now - 60) / state.span_seconds) * state.span_seconds;
  const recent = state.recent.spans.filter((span) => span.start >= since);
  const rate = recent.reduce((sum, span) => sum + span.records, 0) / Math.max(1, state.now - since);
  put("rate", rate >= 100 ? count(Math.round(rate)) : rate ? rate.toFixed(1) : "0");
  const rejected = records.rejected ? `, ${count(records.rejected)} rejected` : "";
  put("rate-note", `last minute; ${counted(records.normal + records.anomaly, "record")} since the start${rejected}`);
  drawLatency();
  put("window-alarms", count(budget.alarms));
  put("window-note", budget.records
    ? `in the last ${counted(budget.records, "record")}; ${upTo(budget)} expected, `
      + `${count(budget.low)} to ${count(budget.high)} by chance: ${budget.verdict}`
    : `the budget: 1 in ${count(Math.round(1 / budget.alpha))} normal records`);
  show("gauge", budget.records > 0);
  const most = Math.max(budget.high * 1.5, budget.alarms * 1.1, 1);
  const [band, mark] = $("gauge").children;
  band.style.left = `${(100 * budget.low) / most}%`;
  band.style.width = `${(100 * (budget.high - budget.low)) / most}%`;
  mark.style.left = `${(100 * budget.alarms) / most}%`;
  put("evidence", evidence >= EVIDENCE ? "strong" : evidence >= EVIDENCE / 2 ? "weak" : "none");
  put("evidence-note", evidence >= EVIDENCE
    ? `recent records differ from the calibration's; by chance, less than 1 time in ${odds(evidence)}`
    : budget.records ? "recent records look like the calibration's" : "no records yet");
}

const odds = (log10) => (log10 < 6 ? count(Math.floor(10 ** log10)) : "a million");

function drawLatency() {
  const { bounds, counts } = state.latency;
  polls.push({ at: state.now, counts });
  while (polls.length > 1 && polls[0].at < state.now - LATENCY_SECONDS) polls.shift();
  const before = polls[0].counts;
  let fresh = counts.map((n, i) => n - (before[i] || 0));
  let when = `in the last ${Math.round(state.now - polls[0].at)} seconds`;
  if (fresh.some((n) => n < 0)) { polls.length = 0; fresh = counts; } // the service was restarted
  if (!fresh.some((n) => n > 0)) { fresh = counts; when = "since the start"; }
  const total = fresh.reduce((sum, n) => sum + n, 0);
  put("p99", total ? `${value(1000 * quantile(bounds, fresh, 0.99))} ms` : "–");
  put("p99-note", total ? `99 of 100 answers took less time; ${counted(total, "request")} ${when}` : "no requests yet");
}

/** As histogram_quantile() of Prometheus: linear inside a bucket; beyond the last one, its bound. */
function quantile(bounds, counts, q) {
  let rank = q * counts.reduce((sum, n) => sum + n, 0);
  for (let i = 0; i < bounds.length; i++) {
    const low = i ? bounds[i - 1] : 0;
    if (counts[i] >= rank) return low + (bounds[i] - low) * (rank / counts[i]);
    rank -= counts[i];
  }
  return bounds[bounds.length - 1];
}

// ---- the picture

/** The spans as 60 slots, of ten seconds each at first and of up to a minute later on. */
function slots() {
  const { spans } = state.recent, age = spans.length ? state.now - spans[0].start : 0;
  const seconds = state.span_seconds * (WIDTHS.find((n) => age < n * state.span_seconds * (SLOTS - 1)) || WIDTHS.at(-1));
  const end = (Math.floor(state.now / seconds) + 1) * seconds, start = end - SLOTS * seconds;
  const found = Array.from({ length: SLOTS }, () => ({ records: 0, alarms: 0, severities: state.severities.map(() => 0).concat(0) }));
  for (const span of spans) {
    const slot = found[Math.floor((span.start - start) / seconds)];
    if (!slot) continue;
    slot.records += span.records;
    slot.alarms += span.alarms;
    span.severities.forEach((n, i) => { slot.severities[i] += n; });
  }
  return { found, start, end, seconds };
}

function drawChart() {
  const { found, start, end, seconds } = slots();
  const rows = state.severities.length + 1, alarm = -Math.log10(state.budget.alpha);
  const edges = [0, ...state.severities], most = Math.max(1, ...found.flatMap((slot) => slot.severities));
  const heat = svg("svg", { class: "heat", viewBox: `0 0 ${SLOTS} ${rows}`, preserveAspectRatio: "none", role: "img" });
  found.forEach((slot, x) => slot.severities.forEach((n, row) => {
    if (!n) return;
    const opacity = (0.25 + 0.75 * (Math.log1p(n) / Math.log1p(most))).toFixed(2);
    const hot = edges[row] >= alarm - 1e-9;
    heat.append(svg("rect", { x, y: rows - 1 - row, width: 1, height: 1, class: hot ? "cell hot" : "cell", "fill-opacity": opacity }));
  }));
  const limit = rows - heightOf(alarm, edges);
  heat.append(svg("path", { d: `M0 ${limit}H${SLOTS}`, class: "limit" }));
  const total = found.reduce((sum, slot) => sum + slot.records, 0), alarms = found.reduce((sum, slot) => sum + slot.alarms, 0);
  heat.setAttribute("aria-label", `${counted(total, "record")} and ${counted(alarms, "alarm")} from ${clock(start)} to ${clock(end)}`);
  const scale = make("div", { class: "scale", "aria-hidden": "true" });
  for (const [severity, text] of [[1, "1 in 10"], [2, "1 in 100"], [3, "1 in 1,000"], [4, "1 in 10,000"]]) {
    const label = make("span", null, text);
    label.style.top = `${100 * (1 - heightOf(severity, edges) / rows)}%`;
    scale.append(label);
  }
  const each = seconds === 60 ? "a minute" : `${seconds} seconds`;
  $("chart").replaceChildren(
    scale, heat,
    make("span", { class: "lane" }, `alarms, ${each}`), bars(found, "alarms", true),
    make("span", { class: "lane" }, `records, ${each}`), bars(found, "records", false),
    ...changesLane(start, end),
    make("span"), make("div", { class: "ends" }, make("span", null, clock(start)), make("span", null, clock(end))),
  );
}

/** The rows up to a severity; the last row is open. */
function heightOf(severity, edges) {
  const above = edges.findIndex((edge) => edge > severity);
  if (above < 0) return edges.length - 0.5;
  const low = edges[above - 1];
  return above - 1 + (severity - low) / (edges[above] - low);
}

function bars(found, name, hot) {
  const most = Math.max(1, ...found.map((slot) => slot[name]));
  const drawing = svg("svg", { class: "bars", viewBox: `0 0 ${SLOTS} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: at most ${count(most)}` });
  found.forEach((slot, x) => {
    const height = (95 * slot[name]) / most;
    if (height) drawing.append(svg("rect", { x: x + 0.08, y: 100 - height, width: 0.84, height, class: hot ? "bar hot" : "bar" }));
  });
  return drawing;
}

// ---- alarms and columns

function drawAlarms() {
  const { alarms } = state.recent;
  show("alarms-empty", !alarms.length);
  show("alarms-table", alarms.length > 0);
  $("alarm-rows").replaceChildren(...alarms.slice(0, allAlarms ? alarms.length : ALARMS_SHOWN).map((alarm) => {
    const sum = summed(alarm.reasons);
    const causes = alarm.reasons.map((cause) => make("div", { class: "cause" },
      make("b", null, cause.column), meter(cause.contribution / sum, true),
      make("span", { class: "values" }, state.values ? `${agoOf(cause)}${beside(cause)}` : agoOf(cause).replace(": ", ""))));
    const none = alarm.reasons.length ? [] : ["no single column stands out"];
    const place = alarm.place ? [make("div", { class: "place" }, ...placed(alarm.place))] : [];
    return make("tr", null, make("td", null, clock(alarm.at)), make("td", null, oneIn(alarm.p_value)),
      make("td", null, ...place, ...causes, ...none, coursesOf(alarm.lines)));
  }));
  show("lines-note", alarms.some((alarm) => alarm.lines.length > 0));
  more("more-alarms", alarms.length, ALARMS_SHOWN, allAlarms, "alarms");
  put("values-note", state.values ? "" : "Values of records are hidden; start the service with --console-values to show them.");
}

function placed(place) {
  const at = `record ${count(place.index + 1)} of ${count(place.records)} of request `;
  const where = [at, make("span", { class: "request" }, place.request)];
  return place.id === null ? where : [make("b", null, `id ${place.id}`), ", ", ...where];
}

function more(id, n, shown, all, what) {
  show(id, n > shown);
  put(`${id}-button`, all ? `Show the first ${shown}` : `Show all ${n} ${what}`);
}

function drawColumns() {
  const places = state.columns.map((column, at) => ({ ...column, at }));
  places.sort((a, b) => Boolean(b.changed) - Boolean(a.changed) || b.first_reason - a.first_reason || b.psi - a.psi || a.at - b.at);
  show("columns-table", places.length > 0);
  const records = state.budget.records;
  put("columns-note", !records ? "The columns of recent records will appear here, beside the calibration's."
    : `The last ${counted(records, "record")} beside those of the calibration. `
      + (places[0].psi === null ? "Drift is shown from 500 records on." : "PSI measures drift: below 0.1 little has changed; much, from 0.25 above what chance brings."));
  const leads = Math.max(1, ...places.map((column) => column.first_reason));
  $("column-rows").replaceChildren(...places.slice(0, allColumns ? places.length : COLUMNS_SHOWN).map((column) =>
    make("tr", { id: `column-${column.at}`, tabindex: "-1" },
      make("th", { scope: "row" }, column.name, " ", make("span", { class: "kind" }, column.kind),
        column.changed ? make("div", null, make("span", { class: "tag" }, column.changed)) : null),
      make("td", { "data-label": "Drift" }, drift(column)),
      make("td", { "data-label": "Missing" }, share(column.missing, column.usual_missing)),
      make("td", { "data-label": "New values" }, share(column.unseen, column.usual_unseen)),
      make("td", { "data-label": "First reason of" }, make("span", { class: "drift" },
        column.first_reason ? meter(column.first_reason / leads, true) : null, counted(column.first_reason, "alarm"))))));
  more("more-columns", places.length, COLUMNS_SHOWN, allColumns, "columns");
}

/** An expected number of alarms, and whether it is an upper bound only. */
const upTo = ({ expected, bound }) => `${bound ? "up to " : ""}${expected.toFixed(1)}`;

const PROMISED = { above: "more alarms than promised", below: "fewer alarms than promised" };

/** One row for each segment with recent records, where the artifact has a segment. */
function drawSegments() {
  const { segments, budget } = state;
  show("segments", segments.length > 0);
  put("segments-note", `The last ${counted(budget.records, "record")} by segment. A calibration of its own promises its rate; the pooled one promises nothing to a single segment, which may be much louder than the whole.`);
  $("segment-rows").replaceChildren(...segments.map((each) =>
    make("tr", null,
      make("th", { scope: "row" }, each.segment === null ? "(missing)" : each.segment,
        PROMISED[each.state] ? make("div", null, make("span", { class: "tag" }, PROMISED[each.state])) : null),
      make("td", { "data-label": "Records" }, count(each.records)),
      make("td", { "data-label": "Alarms" }, count(each.alarms)),
      make("td", { "data-label": "Expected" }, upTo(each) + (each.low === null ? ", no promise"
        : `, ${count(each.low)} to ${count(each.high)} by chance`)),
      make("td", { "data-label": "Calibration" }, each.calibration))));
}

function drift(column) {
  if (column.psi === null) return "too few records";
  return make("span", { class: "drift" }, meter(column.psi / (2 * MUCH), Boolean(column.changed)), column.psi.toFixed(2));
}

const share = (now, usual) => percent(now) + (now || usual ? `, usually ${percent(usual)}` : "");

// ---- models

function drawModels() {
  describe("active", state.model, []);
  show("report", state.model.report);
  const { shadow } = state;
  show("no-shadow", !shadow);
  show("shadow", Boolean(shadow));
  show("promote", Boolean(shadow));
  if (!shadow) return;
  describe("shadow", shadow.model, [
    ["Scored", `${counted(shadow.records, "record")}${shadow.dropped ? `, ${count(shadow.dropped)} dropped under load` : ""}`],
    ["Its alarms", count(shadow.anomalies)],
    ["Different verdict", counted(shadow.disagreements, "record")],
  ]);
}

function describe(id, model, rest) {
  const [low, high] = model.rate_interval.map(percent);
  const entries = [
    ["Name", model.name], ["Version", model.version], ["Data", model.fingerprint],
    ["Alarm budget", `1 in ${count(Math.round(1 / model.alpha))} (true rate ${low} to ${high})`],
    ["Calibrated on", counted(model.calibration_records, "record")],
    ...(model.window ? [["Window", `each record is judged with the ${count(model.window - 1)} before it`]] : []),
    ["Trained", moment(model.created_at)], ["Loaded", moment(model.loaded_at)], ...rest,
  ];
  $(id).replaceChildren(...entries.flatMap(([name, text]) => [make("dt", null, name), make("dd", null, text)]));
}

/** Fetch and download the report where there is a key, which a link cannot send. */
async function openReport(event) {
  if (!key) return;
  event.preventDefault();
  try {
    const href = URL.createObjectURL(await (await ask("console/report")).blob());
    make("a", { href, download: `${state.model.name}-${state.model.version}-report.html` }).click();
  } catch (error) {
    put("change-status", `No report: ${error.message}`);
  }
}

/** Ask before something changes; gives the key, or null if the answer is no. No key is asked for where its name is empty. */
function confirmed(title, text, yes, whose = "Admin key") {
  put("ask-title", title);
  put("ask-text", text);
  put("ask-yes", yes);
  $("ask-key").value = "";
  put("ask-key-name", whose);
  show("ask-key-part", state.keys && whose !== "");
  $("ask").showModal();
  return new Promise((resolve) => {
    const done = (answer) => { $("ask").close(); resolve(answer); };
    $("ask-form").onsubmit = (event) => { event.preventDefault(); done($("ask-key").value.trim()); };
    $("ask-no").onclick = () => done(null);
    $("ask").oncancel = () => resolve(null);
  });
}

async function change(path, title, text, yes) {
  const given = await confirmed(title, text, yes);
  if (given === null) return;
  put("change-status", "In progress");
  try {
    const { result, version } = await (await ask(path, { method: "POST", key: given }, 120000)).json();
    put("change-status", `${{ loaded: "Loaded", unchanged: "Unchanged", promoted: "Promoted" }[result]}: version ${version} answers.`);
    poll();
  } catch (error) {
    put("change-status", `Refused: ${error.message} The active model has not changed.`);
  }
}

// ---- a record to try

/** What a record names: the columns that are not derived, the time and the entity. */
function inputs() {
  const { columns, time, entity } = card.schema;
  return [...columns.filter((column) => column.kind !== "circular"), ...(time ? [{ name: time.column, kind: "time" }] : []),
    ...(entity ? [{ name: entity, kind: "entity" }] : [])];
}

/** The fields of the schema; text that was typed stays as long as its column is there. */
function drawForm() {
  const typed = new Map([...$("fields").querySelectorAll("[name]")].map((field) => [field.name, field.value]));
  $("fields").replaceChildren(...inputs().map((column, at) => {
    const id = `field-${at}`, typical = shownIn(column, card.example[column.name]);
    const field = inputOf(column, id, at, typical);
    if (typed.has(column.name)) field.value = typed.get(column.name);
    const list = column.kind === "categorical"
      ? make("datalist", { id: `list-${at}` }, ...column.categories.map((name) => make("option", { value: name }))) : null;
    return make("div", null, make("label", { for: id }, column.name), field, list,
      make("span", { class: "hint", id: `hint-${at}` }, hint(column)));
  }));
}

function inputOf(column, id, at, typical) {
  const common = { id, name: column.name, "aria-describedby": `hint-${at}`, autocomplete: "off" };
  if (column.kind === "numeric") return make("input", { ...common, type: "number", step: "any", value: typical });
  if (column.kind === "categorical") return make("input", { ...common, list: `list-${at}`, value: typical });
  if (column.kind === "time" || column.kind === "entity") return make("input", { ...common, type: "text", value: typical });
  return make("select", common, ...["false", "true", ""].map((text) =>
    make("option", { value: text, ...(text === typical ? { selected: "" } : {}) }, text || "missing")));
}

const shownIn = (column, example) => (example === null || example === undefined ? "" : String(example));

function hint(column) {
  if (column.kind === "boolean") return "true or false";
  if (column.kind === "time") return "a time, written like this one";
  if (column.kind === "entity") return "whose record it is";
  if (column.kind === "numeric") return column.low === null ? "a number" : `${value(column.low)} to ${value(column.high)} in training`;
  const [some, all] = [column.categories.slice(0, 3).join(", "), column.categories.length];
  return all > 3 ? `${some} or ${all - 3} more` : some || "a text";
}

/** The record of the form; null, and the field marked, if a number is malformed. */
function recordOfForm() {
  const record = {};
  let bad = null;
  inputs().forEach((column, at) => {
    const field = $(`field-${at}`), text = field.value;
    const broken = column.kind === "numeric" && (field.validity.badInput || (text !== "" && !Number.isFinite(Number(text))));
    field.setAttribute("aria-invalid", String(broken));
    if (broken) bad = bad || field;
    record[column.name] = text === "" ? null : { numeric: Number, boolean: (t) => t === "true", categorical: String, time: String, entity: String }[column.kind](text);
  });
  if (bad) { bad.focus(); showVerdict("bad", "Not scored", `${bad.name} must be a number.`); return null; }
  return record;
}

async function tryRecord(event) {
  event.preventDefault();
  const record = recordOfForm();
  if (!record) return;
  try {
    const answer = await ask("console/score?explain=100", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ records: [record] }),
    });
    drawVerdict(await answer.json());
  } catch (error) {
    const rules = error.errors ? error.errors.map((problem) => problem.message) : [];
    showVerdict("bad", "Not scored", rules.join(" ") || error.message);
  }
}

function showVerdict(level, word, text, ...rest) {
  $("verdict").dataset.level = level;
  $("verdict").replaceChildren(make("p", { class: "word" }, word), make("p", null, text), ...rest);
}

function drawVerdict({ model, results: [result] }) {
  if (result.score === null) { // what is tried is no traffic: it stands alone, without the service's histories
    showVerdict("", "Not judged", `This model judges a record with the ${count(card.window.size - 1)} before it. `
      + `Try a CSV file of at least ${count(card.window.size)} records of one series, in order of time.`);
    return;
  }
  const [level, word] = result.is_anomaly ? ["alarm", "Anomaly"] : ["ok", "Normal"];
  const text = `As unusual as ${oneIn(result.p_value)}; an alarm begins at 1 in ${count(Math.round(1 / model.alpha))}.`;
  const numbers = make("p", { class: "note" }, `severity ${result.severity.toFixed(2)}, p-value ${result.p_value.toPrecision(3)}, score ${result.score.toFixed(2)} nats`);
  const { reconstruction, kl, neighbour } = result.parts;
  const parts = make("p", { class: "note" }, `${reconstruction.toFixed(2)} of the score come from the columns, ${kl.toFixed(2)} from `
    + `how unusual they are together, ${neighbour.toFixed(2)} from the distance to the nearest known normal record.`);
  const most = Math.max(1e-9, ...result.reasons.map((reason) => reason.contribution));
  const shares = make("ul", { class: "shares" }, ...result.reasons.map((reason) => make("li", null,
    make("div", { class: "head" }, make("b", null, reason.column), make("span", null, `${reason.contribution.toFixed(2)} nats`)),
    meter(reason.contribution / most, result.is_anomaly),
    make("div", { class: "values" }, reason.words || `${agoOf(reason)}observed ${beside(reason)}`))));
  const silent = card.schema.columns.length - result.reasons.length;
  const rest = make("p", { class: "note" }, silent > 0 ? `${counted(silent, "column")} more would not lower it.` : "");
  showVerdict(level, word, text, numbers, parts, make("h3", null, "How much lower the score would be with the expected value"), shares, rest);
  $("verdict").scrollTop = 0;
}

// ---- a file

async function scoreFile(file) {
  if (!file) return;
  const status = $("csv-status");
  status.replaceChildren(make("p", null, `Scoring ${file.name}`));
  try {
    const answer = await ask("console/score?on_error=null", {
      method: "POST", headers: { "content-type": "text/csv" }, body: file,
    }, 120000);
    const { records, anomalies, rejected } = JSON.parse(answer.headers.get("x-counts"));
    const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: file.name.replace(/(\.csv)?$/i, "-scored.csv") },
      "Download the scored file");
    const bad = rejected ? `, ${count(rejected)} could not be read (the column "error" says why)` : "";
    status.replaceChildren(make("p", null, `${counted(records, "row")}: ${counted(anomalies, "anomaly", "anomalies")}${bad}. `, link));
  } catch (error) {
    status.replaceChildren(make("p", null, `Not scored: ${error.message}`));
  }
  $("csv").value = "";
}

// ---- start

for (const id of ["more-alarms", "more-columns"]) $(id).firstElementChild.id = `${id}-button`;
$("more-alarms").onclick = () => { allAlarms = !allAlarms; draw(); };
$("more-columns").onclick = () => { allColumns = !allColumns; draw(); };
$("look-at").onclick = (event) => {
  const target = event.target.closest("a");
  if (target && !document.getElementById(target.hash.slice(1))) { allColumns = true; draw(); }
};
$("key-form").onsubmit = (event) => { event.preventDefault(); setKey($("key").value.trim()); $("key").value = ""; poll(); };
$("forget").onclick = () => { setKey(""); poll(); };
$("report").onclick = openReport;
$("reload").onclick = () => change("v1/reload", "Reload the model?",
  "The service loads the artifact that is at its path now, verifies it, and answers from it. A bad artifact changes nothing.", "Reload");
$("promote").onclick = () => change("v1/promote", "Promote the shadow?",
  "The shadow replaces the model that answers now. Clients get its verdicts at once.", "Promote");
$("follow-form").onsubmit = propose;
$("apply").onclick = applyProposal;
$("revert").onclick = revertProposal;
$("try-form").onsubmit = tryRecord;
$("csv").onchange = () => scoreFile($("csv").files[0]);
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") scoreFile(event.dataTransfer.files[0]);
  });
}
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden && document.body.dataset.phase !== "locked") poll();
});
poll();
