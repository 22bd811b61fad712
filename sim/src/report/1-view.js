// What a page can do beyond being read. These files are one script, in the order of their numbers:
// the view and the figures; readings at an instant, by pointer and by key; leases; the rest.

const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const SVG = document.querySelector("svg").namespaceURI;
const svg = (name, attributes, text = "") => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};
const html = (name, attributes, ...inner) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inner);
  return element;
};

// Figures, as the page was written with.

const thousands = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u2009");
const decimals = (value, size, unit) => {
  const whole = Math.floor(value / size);
  const hundredths = Math.floor(((value % size) * 100) / size);
  let digits =
    whole < 10
      ? String(hundredths).padStart(2, "0")
      : whole < 100
        ? String(Math.floor(hundredths / 10))
        : "";
  digits = digits.replace(/0+$/, "");
  return thousands(whole) + (digits ? "." + digits : "") + unit;
};
const figure = (unit, value) => {
  if (value === null) return "–";
  if (unit === "rate") return decimals(value, 1000, "");
  if (unit === "bytes") {
    const scale = [
      [2 ** 30, " GiB"],
      [2 ** 20, " MiB"],
      [2 ** 10, " KiB"],
    ].find(([size]) => value >= size);
    return scale ? decimals(value, ...scale) : value + " B";
  }
  if (unit === "time") {
    if (value === 0 || value >= 1e6) return decimals(value, 1e6, " s");
    return value >= 1000 ? decimals(value, 1000, " ms") : value + " µs";
  }
  return thousands(value);
};
const seconds = (millis) => (millis / 1000).toFixed(3) + " s";

// The view: which part of the run is shown, and the instant that is read.

const SHORTEST = Math.min(100, data.until);
let view = [0, data.until];
let cursor = null;
const share = (at) => ((at - view[0]) / (view[1] - view[0])) * 100;
const overs = () => all(".over");

const round = (value) => {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value);
};
const times = () => {
  const room = (overs()[0] || document.body).getBoundingClientRect().width;
  const step = Math.max(1, round((view[1] - view[0]) / Math.max(2, Math.min(8, room / 70))));
  const ticks = [];
  for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) ticks.push(at);
  return ticks;
};

const place = (element) => {
  const at = Number(element.dataset.t);
  const until = Number(element.dataset.until || at);
  const shown = until >= view[0] && at <= view[1];
  element.setAttribute("visibility", shown ? "visible" : "hidden");
  const x = share(Math.max(at, view[0])) + "%";
  const names = { line: ["x1", "x2"], circle: ["cx"] }[element.tagName] || ["x"];
  for (const name of names) element.setAttribute(name, x);
  if (element.tagName === "text") {
    const late = share(at) > 50;
    element.setAttribute("text-anchor", late ? "end" : "start");
    element.setAttribute("dx", late ? -5 : 5);
  }
};

const drawView = () => {
  for (const lens of all(".lens")) {
    const [, , , height] = lens.getAttribute("viewBox").split(" ");
    lens.setAttribute("viewBox", `${view[0]} 0 ${view[1] - view[0]} ${height}`);
  }
  all("[data-t]").forEach(place);
  const ticks = times();
  for (const rules of all(".times")) {
    const height = rules.closest(".over").getAttribute("height");
    rules.replaceChildren(
      ...ticks
        .filter((at) => at > view[0])
        .map((at) =>
          svg("line", {
            class: "grid",
            x1: share(at) + "%",
            x2: share(at) + "%",
            y1: 0,
            y2: height,
          }),
        ),
    );
  }
  const narrow = view[1] - view[0] < 8000;
  for (const over of all(".axis .over")) {
    over.replaceChildren(
      ...ticks.map((at) => {
        const x = share(at);
        const anchor = x < 3 ? "start" : x > 97 ? "end" : "middle";
        const text = narrow ? String(at / 1000) : String(Math.round(at / 100) / 10);
        return svg(
          "text",
          { class: "tick", x: x + "%", y: 12, "text-anchor": anchor },
          text + " s",
        );
      }),
    );
  }
  byId("reset").hidden = view[0] === 0 && view[1] === data.until;
  drawCursor();
};

const show = (from, until) => {
  const span = Math.min(data.until, Math.max(SHORTEST, until - from));
  const start = Math.min(Math.max(0, from), data.until - span);
  view = [Math.round(start), Math.round(start + span)];
  drawView();
};
const zoom = (factor, around) => {
  const span = (view[1] - view[0]) * factor;
  const part = (around - view[0]) / (view[1] - view[0]);
  show(around - span * part, around + span * (1 - part));
};
