// GET /console/changes -> what people changed: a lane of the picture, on the time axis of the alarms, and a list.
// It uses the small tools of console.js; texts are inserted as text, never as HTML.
"use strict";

let changes = { changes: [], patterns: [], away: false };

async function refreshChanges() {
  try { changes = await (await ask("console/changes")).json(); } catch { return; } // the next round tries again
  redraw("changes", [changes, state.keys, state.may_mark], drawChanges);
}

function patternText({ columns, group, direction, severity_to: most }) {
  const parts = [columns.length ? columns.join(", ") : "any column", group === null ? "all groups" : group || "no group"];
  if (direction) parts.push(direction);
  if (most !== null) parts.push(`up to ${oneIn(10 ** -most)}`);
  return parts.join("; ");
}

const endingOf = (pattern) => timeOf(pattern.ended || pattern.until);

/** The lane under the picture: a line for each change, a bar for each time in which something is expected. */
function changesLane(start, end) {
  const place = (at) => (SLOTS * (Math.max(start, Math.min(end, at)) - start)) / (end - start);
  const lane = svg("svg", { class: "changes", viewBox: `0 0 ${SLOTS} 10`, preserveAspectRatio: "none", role: "img" });
  const bars = changes.patterns.filter((each) => timeOf(each.since) < end && endingOf(each) > start);
  for (const each of bars) {
    const x = place(timeOf(each.since));
    lane.append(svg("rect", { x, y: 3, width: Math.max(place(endingOf(each)) - x, 0.2), height: 4, class: "expected-time" }));
  }
  const lines = changes.changes.filter((each) => each.at >= start && each.at < end);
  for (const each of lines) lane.append(svg("path", { d: `M${place(each.at)} 0V10`, class: `change ${each.kind}` }));
  lane.setAttribute("aria-label", `${counted(lines.length, "change")}; something was expected ${counted(bars.length, "time")}. The list below has them.`);
  return [make("span", { class: "lane" }, "changes"), lane];
}

function drawChanges() {
  const found = [
    ...changes.changes.map((each) => ({ at: each.at, text: each.text, by: each.by })),
    ...changes.patterns.flatMap((each) => [
      { at: timeOf(each.at), text: `Expected until ${whenOf(each.until)}: ${patternText(each)}${each.reason ? ` (${each.reason})` : ""}`, by: each.by },
      ...(each.ended ? [{ at: timeOf(each.ended), text: `No longer expected: ${patternText(each)}`, by: each.ended_by }] : []),
    ]),
  ].sort((a, b) => b.at - a.at).slice(0, 30);
  put("changes-title", `Changes (${count(found.length)})`);
  $("changes-list").replaceChildren(...found.map(({ at, text, by }) => make("li", null, make("span", { class: "kind" }, moment(at)), ` ${text}`, by ? `, by ${by}` : "")));
  show("changes-away", changes.away);
  const active = changes.patterns.filter((each) => each.active);
  show("expected-part", active.length > 0 || Boolean($("expected-status").textContent));
  put("expected-title", `Expected now (${count(active.length)})`);
  $("expected-list").replaceChildren(...active.map((each) => make("li", null, patternText(each), ` until ${whenOf(each.until)}, ${counted(each.alarms, "alarm")} so far `,
    each.incident ? make("a", { href: `#incident=${each.incident}`, "aria-label": `The incident that ${patternText(each)} was made of` }, "its incident") : "", " ", endButton(each))));
}

function endButton(pattern) {
  const button = make("button", { type: "button", class: "quiet small", "aria-label": `End: ${patternText(pattern)}` }, "End");
  button.onclick = () => endListed(pattern);
  return button;
}
