// Readings.

const before = (times, at) => {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};
const reading = (panel, line, at) => {
  const index = before(line.times, at);
  if (index < 0) return null;
  const value = line.values[index];
  const next = index + 1;
  if (!panel.slope || value === null || next >= line.times.length) return value;
  const part = (at - line.times[index]) / (line.times[next] - line.times[index]);
  return Math.round(value + (line.values[next] - value) * part);
};
const inLane = (lane, at) => {
  const span = lane.spans.find(([from, until]) => from <= at && at < until);
  return span ? span[2] : "";
};

const values = new Map();
for (const plot of all(".plot[data-run]")) {
  const panel = data.runs[plot.dataset.run].panels[plot.dataset.place];
  const outputs = all("[data-line]", plot).map((element) => [
    element.querySelector(".value"),
    Number(element.dataset.line),
  ]);
  values.set(plot, { panel, outputs, ended: data.runs[plot.dataset.run].ended });
}
const drawValues = (at) => {
  for (const { panel, outputs, ended } of values.values()) {
    const instant = at === null ? ended : Math.min(at, ended);
    for (const [output, index] of outputs) {
      if (panel.lanes) {
        const last = at === null ? instant - 1 : instant;
        output.textContent = inLane(panel.lanes[index], Math.min(last, ended - 1));
        continue;
      }
      let value = reading(panel, panel.lines[index], instant);
      // At rest, of what has gaps, the last there was.
      if (value === null && at === null) {
        value = panel.lines[index].values.findLast((value) => value !== null) ?? null;
      }
      output.textContent = figure(panel.unit, value);
    }
  }
};
const drawCursor = () => {
  const shown = cursor !== null && cursor >= view[0] && cursor <= view[1];
  for (const over of overs()) {
    let line = over.querySelector(":scope > .cursor");
    if (!line) {
      line = svg("line", { class: "cursor", y1: 0, y2: over.getAttribute("height") });
      over.append(line);
    }
    line.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) for (const name of ["x1", "x2"]) line.setAttribute(name, share(cursor) + "%");
  }
};
const read = (at) => {
  cursor = at === null ? null : Math.round(Math.min(data.until, Math.max(0, at)));
  drawCursor();
  drawValues(cursor);
  byId("now").textContent = cursor === null ? "" : "at " + seconds(cursor);
};

// Pointers: one reads, a mouse's drag chooses, two zoom.

const pointers = new Map();
let drag = null;
let pinch = null;
const timeAt = (over, x) => {
  const box = over.getBoundingClientRect();
  return view[0] + ((x - box.left) / box.width) * (view[1] - view[0]);
};
const overOf = (event) => event.target.closest && event.target.closest(".over");
const apart = () => {
  const [one, other] = [...pointers.values()];
  return [Math.abs(one - other) || 1, (one + other) / 2];
};
const drawDrag = (until) => {
  all(".chosen").forEach((element) => element.remove());
  if (!drag || until === null) return;
  const [from, to] = [Math.min(drag.at, until), Math.max(drag.at, until)];
  for (const over of overs()) {
    over.append(
      svg("rect", {
        class: "chosen",
        x: share(from) + "%",
        y: 0,
        width: Math.max(0, share(to) - share(from)) + "%",
        height: over.getAttribute("height"),
      }),
    );
  }
};
document.addEventListener("pointerdown", (event) => {
  const over = overOf(event);
  if (!over || event.button > 0) return;
  pointers.set(event.pointerId, event.clientX);
  if (pointers.size === 2) {
    const [distance, middle] = apart();
    pinch = { over, distance, view: view.slice(), at: timeAt(over, middle) };
    drag = null;
  } else if (event.pointerType === "mouse") {
    drag = { over, at: timeAt(over, event.clientX), x: event.clientX };
  }
  read(timeAt(over, event.clientX));
});
document.addEventListener("pointermove", (event) => {
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event.clientX);
  if (pinch && pointers.size === 2) {
    const [distance] = apart();
    const factor = pinch.distance / distance;
    const part = (pinch.at - pinch.view[0]) / (pinch.view[1] - pinch.view[0]);
    const span = (pinch.view[1] - pinch.view[0]) * factor;
    show(pinch.at - span * part, pinch.at + span * (1 - part));
    return;
  }
  const over = drag ? drag.over : overOf(event);
  if (over) {
    const at = timeAt(over, event.clientX);
    read(at);
    drawDrag(drag && Math.abs(event.clientX - drag.x) > 4 ? at : null);
  } else if (
    event.pointerType === "mouse" &&
    cursor !== null &&
    !byId("panels").contains(document.activeElement)
  ) {
    read(null);
  }
});
const release = (event) => {
  pointers.delete(event.pointerId);
  pinch = null;
  if (!drag) return;
  const { over, at, x } = drag;
  const until = timeAt(over, event.clientX);
  drawDrag(null);
  drag = null;
  if (event.type === "pointerup" && Math.abs(event.clientX - x) > 4) {
    show(Math.min(at, until), Math.max(at, until));
  }
};
document.addEventListener("pointerup", release);
document.addEventListener("pointercancel", release);
document.addEventListener("dblclick", (event) => {
  if (overOf(event)) show(0, data.until);
});
document.addEventListener(
  "wheel",
  (event) => {
    const over = overOf(event);
    if (!over || !event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, timeAt(over, event.clientX));
  },
  { passive: false },
);
byId("reset").addEventListener("click", () => show(0, data.until));
byId("panels").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const span = view[1] - view[0];
  const at = cursor === null ? view[0] + span / 2 : cursor;
  const step = event.shiftKey ? span / 10 : span / 100;
  const keys = {
    ArrowLeft: () => read(at - step),
    ArrowRight: () => read(at + step),
    Home: () => read(view[0]),
    End: () => read(view[1]),
    "+": () => zoom(1 / 1.5, at),
    "=": () => zoom(1 / 1.5, at),
    "-": () => zoom(1.5, at),
    0: () => show(0, data.until),
    Escape: () => {
      read(null);
      show(0, data.until);
    },
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
  if (cursor !== null && (cursor < view[0] || cursor > view[1]))
    show(cursor - span / 2, cursor + span / 2);
});
const jump = (at) => {
  const span = Math.min(data.until, 10000);
  show(at - span / 2, at + span / 2);
  read(at);
  byId("timeline").scrollIntoView({ block: "start" });
};
document.addEventListener("click", (event) => {
  const button = event.target.closest(".jump");
  if (button) jump(Number(button.dataset.jump));
});
