// GET /v1/feedback/summary -> how many of the incidents that people judged were real: in all, by column, by group
// and by week. It uses the small tools of console.js; texts are inserted as text, never as HTML.
"use strict";

const PRECISION_EVERY_MS = 30000, TALLIES_SHOWN = 10;
const precision = { found: null, fault: "", at: 0, turn: 0, all: {} };

/** Called after each poll of the page; asked for seldom, and at once when something was marked. */
async function refreshPrecision(now = false) {
  if (!now && Date.now() - precision.at < PRECISION_EVERY_MS) return;
  precision.at = Date.now();
  const turn = ++precision.turn;
  const since = new Date(Date.now() - Number($("precision-since").value) * 86400e3).toISOString();
  try {
    const found = await (await ask(`v1/feedback/summary?since=${encodeURIComponent(since)}`)).json();
    if (turn !== precision.turn) return; // another time was chosen meanwhile
    Object.assign(precision, { found, fault: "" });
  } catch (error) {
    if (turn !== precision.turn) return;
    precision.fault = error.status === 503 ? "The store of incidents does not answer; this page tries again." : `Not counted: ${error.message}`;
  }
  redraw("precision", [precision.found, precision.fault, precision.all], drawPrecision);
}

/** Without a key nothing of what it showed stays. */
function forgetPrecision() {
  Object.assign(precision, { found: null, fault: "", at: 0, turn: precision.turn + 1, all: {} });
  delete drawn.precision;
  drawPrecision();
}

const judgedOf = (tally) => tally.confirmed + tally.false_alarm;
const shareOf = (share) => `${Math.round(100 * share)}%`;
const intervalOf = ({ lower, upper }) => `${Math.round(100 * lower)} to ${shareOf(upper)}`;

function drawPrecision() {
  const { found, fault } = precision;
  show("precision-fault", Boolean(fault));
  put("precision-fault", fault);
  show("precision-wait", !found && !fault);
  const all = found ? found.all : null, judged = all ? judgedOf(all) : 0, n = all ? judged + all.expected + all.unlabelled : 0;
  show("precision-empty", Boolean(all) && !judged);
  if (all) put("precision-empty", n ? `Nobody has said yet which of the ${counted(n, "incident")} of this time were real. Open one above and mark it: then this shows how `
    + "many were, and which columns and groups bring false alarms." : "No incident began in this time.");
  show("precision-text", judged > 0);
  if (judged) put("precision-text", `${count(all.confirmed)} of ${count(judged)} that were judged ${all.confirmed === 1 ? "was" : "were"} real: ${shareOf(all.precision)} `
    + `(95% interval: ${intervalOf(all)}). ${count(all.unlabelled)} ${all.unlabelled === 1 ? "is" : "are"} not marked, ${count(all.expected)} ${all.expected === 1 ? "was" : "were"} expected.`);
  drawTallies("columns", judged ? found.columns : [], (name) => name || "(no main column)");
  const groups = judged ? found.groups : [];
  drawTallies("groups", groups.length > 1 || (groups[0] && groups[0].name) ? groups : [], (name) => name || "(no name)");
  drawTallies("weeks", judged ? found.weeks.slice().reverse() : [], (name) => name);
}

function drawTallies(what, tallies, nameOf) {
  const shown = precision.all[what] ? tallies : tallies.slice(0, TALLIES_SHOWN);
  show(`precision-${what}`, tallies.length > 0);
  $(`precision-${what}-rows`).replaceChildren(...shown.map((tally) => make("tr", null,
    make("th", { scope: "row" }, nameOf(tally.name)),
    make("td", { "data-label": "Were real" }, spreadOf(tally)),
    make("td", { "data-label": "Real" }, count(tally.confirmed)),
    make("td", { "data-label": "False" }, count(tally.false_alarm)),
    make("td", { "data-label": "Expected" }, count(tally.expected)),
    make("td", { "data-label": "Not marked" }, count(tally.unlabelled)))));
  const button = $(`precision-${what}-more`);
  button.hidden = tallies.length <= TALLIES_SHOWN;
  button.textContent = precision.all[what] ? `Show the first ${TALLIES_SHOWN}` : `Show all ${count(tallies.length)}`;
}

/** The share as a mark within its interval. */
function spreadOf(tally) {
  if (tally.precision === null) return make("span", { class: "kind" }, "none was judged");
  const band = make("div", { class: "band" }), mark = make("div", { class: "mark" });
  band.style.left = `${100 * tally.lower}%`;
  band.style.width = `${100 * (tally.upper - tally.lower)}%`;
  mark.style.left = `${100 * tally.precision}%`;
  return make("span", { class: "spread" }, make("div", { class: "gauge", "aria-hidden": "true" }, band, mark),
    make("span", null, shareOf(tally.precision), make("span", { class: "kind" }, ` (${intervalOf(tally)})`)));
}

for (const what of ["columns", "groups", "weeks"]) {
  document.getElementById(`precision-${what}-more`).onclick = () => {
    precision.all[what] = !precision.all[what];
    redraw("precision", [precision.found, precision.fault, precision.all], drawPrecision);
  };
}
document.getElementById("precision-since").onchange = () => refreshPrecision(true);
