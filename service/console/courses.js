// The window of an alarm -> small lines: the columns behind it, observed and expected by record. Loaded before
// console.js, whose small tools it uses; texts are inserted as text, never as HTML.
"use strict";

const LINE_WIDTH = 100, LINE_HEIGHT = 40, LINE_EDGE = 4; // units of the drawing

/** Where each value stands on the drawing: numbers to scale, other values one above the other. */
function scaleOf(values) {
  const known = values.filter((each) => each !== null);
  if (known.length && known.every((each) => typeof each === "number")) {
    const low = Math.min(...known), high = Math.max(...known), span = high - low;
    return { ends: [low, high], at: (each) => (span ? (each - low) / span : 0.5) };
  }
  const kinds = [...new Set(known.map(String))].sort();
  return { ends: [kinds[0], kinds.at(-1)], steps: true, at: (each) => (kinds.length > 1 ? kinds.indexOf(String(each)) / (kinds.length - 1) : 0.5) };
}

/** A line through the values, with a gap where one is missing; steps where they are no numbers. */
function pathOf(values, scale) {
  const place = (i) => ((i + 0.5) * LINE_WIDTH) / values.length;
  const half = LINE_WIDTH / values.length / 2;
  let path = "", pen = false;
  values.forEach((each, i) => {
    if (each === null) { pen = false; return; }
    const y = LINE_HEIGHT - LINE_EDGE - (LINE_HEIGHT - 2 * LINE_EDGE) * scale.at(each);
    const alone = !pen && (i + 1 === values.length || values[i + 1] === null);
    if (scale.steps || alone) path += `${pen ? "L" : "M"}${place(i) - half} ${y}H${place(i) + half}`;
    else path += `${pen ? "L" : "M"}${place(i)} ${y}`;
    pen = true;
  });
  return path;
}

function courseOf({ column, ago, observed, expected, worst }) {
  const scale = scaleOf([...observed, ...expected]), wide = LINE_WIDTH / observed.length;
  const box = { class: "course", viewBox: `0 0 ${LINE_WIDTH} ${LINE_HEIGHT}`, preserveAspectRatio: "none", role: "img" };
  const drawing = svg("svg", box);
  for (const k of worst) drawing.append(svg("rect", { x: k * wide, y: 0, width: wide, height: LINE_HEIGHT, class: "worst" }));
  drawing.append(svg("path", { d: pathOf(expected, scale), class: "expected" }));
  drawing.append(svg("path", { d: pathOf(observed, scale), class: "observed" }));
  const when = (k) => (ago[k] ? `${counted(ago[k], "record")} ago` : "now");
  const odd = worst.map((k) => `${when(k)} ${value(observed[k])}, expected ${value(expected[k])}`);
  drawing.setAttribute("aria-label", `${column} from ${when(0)} to now; most unlike: ${odd.join("; ") || "none"}`);
  const [low, high] = scale.ends.map((each) => value(each === undefined ? null : each));
  return make("figure", { class: "line" },
    make("figcaption", { "aria-hidden": "true" }, make("b", null, column), make("span", null, low === high ? low : `${low} to ${high}`)), drawing,
    make("div", { class: "ends", "aria-hidden": "true" }, make("span", null, when(0)), make("span", null, "now")));
}

/** The lines of an alarm; null where it has none. */
const coursesOf = (lines) => (lines.length ? make("div", { class: "lines" }, ...lines.map(courseOf)) : null);
