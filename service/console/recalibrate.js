// POST /v1/recalibrate and what follows from it -> the part of the page that follows a change. It is loaded
// first and uses the small tools of console.js, which starts it; texts are inserted as text, never as HTML.
"use strict";

let proposal = null; // the one that is shown
let followed = ""; // the version whose proposals were last asked for
const ALL_NORMAL = 1e6; // records, of which normal ones have these severities
const rateOf = (share) => `${(100 * share).toFixed(share < 0.1 ? 2 : 1)}%`;

/** Shown where the budget is broken, and while there is something to look at or to revert. */
function drawFollow() {
  const broken = ["warn", "alarm"].includes(state.health.level) && state.budget.records > 0;
  show("follow", broken || proposal !== null);
  put("follow-why", broken ? `${state.health.headline}. ${state.health.text}` : "");
  if (followed !== state.model.version) { followed = state.model.version; lastProposal(); }
}

/** What was applied last is offered to be reverted, whoever applied it. */
async function lastProposal() {
  try {
    const { proposals } = await (await ask("v1/recalibrate")).json();
    const applied = proposals.find((one) => one.state === "applied" && one.version === state.model.version);
    if (applied && !(proposal && proposal.id === applied.id)) { proposal = applied; drawProposal(); drawFollow(); }
  } catch (error) { put("follow-status", `No proposals: ${error.message}`); }
}

async function propose(event) {
  event.preventDefault();
  const body = { last: $("follow-last").value };
  const [from, to] = ["follow-from", "follow-to"].map((id) => $(id).value);
  if (Boolean(from) !== Boolean(to)) { put("follow-status", "To leave out a time, say when it begins and when it ends."); return; }
  if (from) body.exclude = [{ since: new Date(from).toISOString(), until: new Date(to).toISOString() }];
  await recalibration("v1/recalibrate", body, "Propose a recalibration?",
    "The service computes what a calibration on these records would do. Nothing changes yet.", "Propose");
}

function applyProposal() {
  const forced = proposal.refusals.length > 0;
  const text = forced
    ? `It was refused: ${proposal.refusals.map((one) => one.text).join(" ")} Your key's name is logged.`
    : "The artifact is replaced by one with the new calibration, in every worker. The one before is kept, and can be put back.";
  return recalibration(`v1/recalibrate/${proposal.id}/apply`, { force: forced },
    forced ? "Apply although it is refused?" : "Apply the proposal?", text, forced ? "Apply by force" : "Apply");
}

const revertProposal = () => recalibration(`v1/recalibrate/${proposal.id}/revert`, {}, "Put the old calibration back?",
  "The artifact that the proposal replaced answers again, in every worker.", "Revert");

async function recalibration(path, body, title, text, yes) {
  const given = await confirmed(title, text, yes);
  if (given === null) return;
  put("follow-status", "In progress");
  try {
    const headers = { "content-type": "application/json" };
    const answer = await ask(path, { method: "POST", headers, body: JSON.stringify(body), key: given }, 120000);
    proposal = await answer.json();
    drawProposal();
    put("follow-status", { proposed: "Proposed; nothing has changed yet.", refused: "Refused; nothing has changed.",
      applied: `Applied: version ${proposal.version} answers.`, reverted: `Reverted: version ${proposal.parent} answers.` }[proposal.state]);
    show("follow", true);
    $("proposal-title").focus();
    poll();
  } catch (error) {
    put("follow-status", `Failed: ${error.message} The active model has not changed.`);
  }
}

function drawProposal() {
  const { before, after, state: at } = proposal;
  show("proposal", true);
  const titles = { proposed: "What it would do", refused: "What it would do, and why it is refused", applied: "What was applied", reverted: "What was reverted" };
  put("proposal-title", titles[at]);
  const left = proposal.exclude.length ? `, without ${counted(proposal.exclude.length, "span")}` : "";
  const out = [[proposal.left_out, "of confirmed incidents"], [proposal.excluded, "in the times that were left out"]].filter(([n]) => n);
  put("proposal-text", `${counted(proposal.records, "record")} from ${moment(Date.parse(proposal.since) / 1000)} to `
    + `${moment(Date.parse(proposal.until) / 1000)}${left}; ${counted(proposal.n, "of them calibrates", "of them calibrate")}.`);
  const [low, high] = proposal.rate_interval_95.map(rateOf);
  const columns = proposal.evidence.columns.map((one) => one.column).join(", ");
  const facts = [
    ["Left out", out.map(([n, why]) => `${counted(n, "record")} ${why}`).join(", ") || "nothing"],
    ["Asked for", rateOf(proposal.alpha)],
    ["True rate then", `${low} to ${high}, of records such as these`],
    ["Threshold", `${value(before.threshold)} → ${value(after.threshold)} nats`],
    ["Evidence of change", proposal.evidence.exchangeability_log10 >= EVIDENCE ? "strong" : "little"],
    ["Columns that have changed", columns || "none much"],
  ];
  $("proposal-facts").replaceChildren(...facts.flatMap(([name, text]) => [make("dt", null, name), make("dd", null, text)]));
  const most = Math.max(before.rate, after.rate, before.late_rate, after.late_rate, proposal.alpha);
  $("proposal-rates").replaceChildren(
    ...[["All of them", before.rate, after.rate], ["The last tenth", before.late_rate, after.late_rate]].map(([name, was, is]) =>
      make("tr", null, make("th", { scope: "row" }, name),
        make("td", { "data-label": "Now" }, rateBar(was, most, true)), make("td", { "data-label": "Then" }, rateBar(is, most, false)))));
  $("proposal-pictures").replaceChildren(picture("Now", before.severities), picture("With the new calibration", after.severities));
  drawSegmentChanges(proposal.segments);
  fill("proposal-refusals", proposal.refusals.map((one) => one.text));
  fill("proposal-warnings", [...proposal.warnings, proposal.contamination]);
  show("apply", at === "proposed" || at === "refused");
  put("apply", at === "refused" ? "Apply by force" : "Apply");
  show("revert", at === "applied");
}

/** One row for each segment: the rates now and then, and which calibration judges it. */
function drawSegmentChanges(segments) {
  show("proposal-segments", segments.length > 0);
  $("proposal-segment-rows").replaceChildren(...segments.map((one) => {
    const range = one.rate_interval_95;
    const judge = one.before === one.after ? one.after : `${one.before}, then ${one.after}`;
    return make("tr", null,
      make("th", { scope: "row" }, one.segment === null ? "(missing)" : one.segment,
        one.refusals.length ? make("div", null, make("span", { class: "tag" }, one.kept ? "not followed" : "followed by force")) : null,
        ...one.refusals.map((reason) => make("p", { class: "note" }, reason.text))),
      make("td", { "data-label": "Records" }, count(one.n)),
      make("td", { "data-label": "Alarm now" }, one.n ? rateOf(one.rate_before) : "–"),
      make("td", { "data-label": "Alarm then" }, one.n ? rateOf(one.rate_after) : "–"),
      make("td", { "data-label": "True rate then" }, range ? `${rateOf(range[0])} to ${rateOf(range[1])}` : "no promise"),
      make("td", { "data-label": "Calibration" }, judge));
  }));
}

function fill(id, texts) {
  show(id, texts.length > 0);
  $(id).replaceChildren(...texts.map((text) => make("li", null, text)));
}

const rateBar = (rate, most, hot) => make("span", { class: "drift" }, meter(rate / most, hot && rate > proposal.alpha), rateOf(rate));

/** Severities as bars, beside the outline of what normal records have. */
function picture(title, counts) {
  const edges = [0, ...proposal.severity_bounds], total = counts.reduce((sum, n) => sum + n, 0) || 1;
  const normal = edges.map((edge, i) => 10 ** -edge - (i + 1 < edges.length ? 10 ** -edges[i + 1] : 0));
  const height = (share) => (share * ALL_NORMAL < 1 ? 0 : (100 * Math.log10(share * ALL_NORMAL)) / 6);
  const alarm = -Math.log10(proposal.alpha);
  const rows = counts.length, drawing = svg("svg", { class: "bars", viewBox: `0 0 ${rows} 100`, preserveAspectRatio: "none", role: "img" });
  counts.forEach((n, x) => {
    const high = height(n / total);
    if (high) drawing.append(svg("rect", { x: x + 0.08, y: 100 - high, width: 0.84, height: high, class: edges[x] >= alarm - 1e-9 ? "bar hot" : "bar" }));
  });
  const line = normal.map((share, x) => `${x ? "L" : "M"}${x} ${100 - height(share)}H${x + 1}`).join("");
  drawing.append(svg("path", { d: line, class: "limit" }));
  const beyond = counts.reduce((sum, n, i) => sum + (edges[i] >= 2 ? n : 0), 0) / total;
  drawing.setAttribute("aria-label", `${title}: ${rateOf(beyond)} of the records are as rare as 1 in 100`);
  return make("figure", null, make("figcaption", null, title), drawing,
    make("div", { class: "ends", "aria-hidden": "true" }, make("span", null, "everyday"), make("span", null, "1 in 100,000")));
}
