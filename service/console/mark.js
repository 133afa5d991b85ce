// What a person says of an incident -> POST /v1/feedback and DELETE /v1/patterns/ID. It uses the small tools of
// console.js. The key with the feedback scope stays in its field until the page is closed, and is kept nowhere else.
"use strict";

let attempt = { text: "", id: "" }; // what is sent again after no answer keeps its id, so that it counts once
let marking = false;

function resetMark() {
  $("mark-reason").value = "";
  put("mark-status", "");
  show("mark-next", false);
}

function drawMark(one, pattern) {
  const open = !state.keys || state.may_mark;
  show("mark-key-part", !open);
  show("mark-undo", Boolean(one.label));
  const columns = one.columns.filter((column) => column.share >= 0.05).map((column) => column.name).join(", ");
  put("mark-like", `"Expected" silences alarms like these (${columns || "any column"}; ${whereOf(one.group)}; up to ${oneIn(10 ** -one.peak_severity)}) until the end that you choose. `
    + "They are still scored, counted and shown.");
  for (const button of $("mark-form").querySelectorAll("button[value]")) {
    button.setAttribute("aria-pressed", String(button.value === one.label));
  }
}

/** The end of what is expected, as ISO 8601; null if none is given. */
function endOf() {
  const hours = Number($("mark-until").value);
  if (hours) return new Date(Date.now() + hours * 3600e3).toISOString();
  return $("mark-end").value ? new Date($("mark-end").value).toISOString() : null;
}

async function mark(label) {
  if (!incident || marking) return;
  const body = { incident: incident.id, label, reason: label === "withdrawn" ? "" : $("mark-reason").value.trim() };
  if (label === "expected") {
    body.until = endOf();
    if (!body.until) { put("mark-status", "Choose when it ends."); $("mark-end").focus(); return; }
  }
  const text = JSON.stringify({ ...body, until: label === "expected" ? $("mark-until").value + $("mark-end").value : "" });
  if (attempt.text !== text) attempt = { text, id: newId(), until: body.until };
  if (attempt.until) body.until = attempt.until; // the same as before, or it would be something else
  const done = await changed("v1/feedback", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...body, id: attempt.id }) });
  if (!done) return;
  attempt = { text: "", id: "" };
  $("mark-reason").value = "";
  put("mark-status", label === "withdrawn" ? "Undone: what was said before does not count any more." : `Marked: ${LABELS[label]}.`);
  show("mark-next", nextUnmarked() !== null);
}

async function endPattern(id) {
  if (await changed(`v1/patterns/${id}`, { method: "DELETE" })) put("mark-status", "The silence has ended.");
}

/** End a pattern from the list of the page, where the key is asked for each time. */
async function endListed(pattern) {
  const needed = state.keys && !state.may_mark;
  const given = await confirmed("End it now?", `${patternText(pattern)}: people are told again of incidents of such alarms.`, "End it", needed ? "Key with the feedback scope" : "");
  if (given === null) return;
  try {
    await ask(`v1/patterns/${pattern.id}`, { method: "DELETE", key: given });
    put("expected-status", "It has ended.");
  } catch (error) { put("expected-status", `It has not ended: ${error.message}`); }
  await refreshChanges();
  $("changes-title").focus();
}

const newId = () => `console-${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;

/** Send a change with the key that may make it; whether it was made. */
async function changed(path, options) {
  const needed = state.keys && !state.may_mark, given = $("mark-key").value.trim();
  if (needed && !given) {
    put("mark-status", "The key of this page may look, but not mark. Give one with the feedback scope.");
    $("mark-key").focus();
    return false;
  }
  marking = true;
  put("mark-status", "In progress");
  try {
    await ask(path, { ...options, ...(needed ? { key: given } : {}) });
    await Promise.all([opened ? loadIncident() : null, refreshLists(), refreshChanges(), refreshPrecision(true)]);
    return true;
  } catch (error) {
    const refused = error.status === 401 || error.status === 403;
    put("mark-status", `Not kept: ${error.message}${error.status === 0 || error.status === 503 ? " Press again: it counts once." : ""}`);
    if (refused && needed) { $("mark-key").value = ""; $("mark-key").focus(); }
    return false;
  } finally { marking = false; }
}

/** The next incident of the lists that nobody has marked; null if there is none. */
function nextUnmarked() {
  const all = Object.values(lists).flatMap((list) => (list.found ? list.found.incidents : []));
  const at = all.findIndex((one) => incident && one.id === incident.id);
  const left = [...all.slice(at + 1), ...all.slice(0, Math.max(at, 0))].filter((one) => !one.label && !one.muted);
  return left.length ? left[0].id : null;
}

function goNext() {
  const id = nextUnmarked();
  if (id) location.hash = `#incident=${id}`;
}

document.getElementById("mark-form").onsubmit = (event) => { event.preventDefault(); mark((event.submitter || {}).value || ""); };
document.getElementById("mark-reason").onkeydown = (event) => { if (event.key === "Enter") event.preventDefault(); }; // which label is meant?
document.getElementById("mark-undo").onclick = () => mark("withdrawn");
document.getElementById("mark-next").onclick = goNext;
document.getElementById("mark-until").onchange = () => { show("mark-end-part", !$("mark-until").value); };
document.getElementById("silencer-end").onclick = () => endPattern(silencer.id);
