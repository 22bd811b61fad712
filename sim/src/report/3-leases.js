// Leases.

const WORDS = {
  asked: "asked",
  granted: "granted",
  extended: "extended",
  denied: "held by another",
  "not-held": "refused: not held",
  void: "refused: void",
  full: "refused: table full",
  revoked: "given up",
  pinned: "pinned",
  unpinned: "unpinned",
  lapsed: "lapsed",
  overloaded: "overloaded",
  "not-leader": "not leader",
  expired: "expired",
  cancelled: "cancelled",
  unknown: "unknown",
};
const LISTED = 100;
const leases = data.runs.flatMap((run) => run.leases.leases.map((lease) => ({ run, lease })));
const several = data.runs.length > 1;
const short = (name) => name.split("/").pop();
let chosen = null;

const held = (run, lease) => {
  const spans = [];
  let open = null;
  for (const [at, what, who, , fence] of lease.events) {
    const holds = what === "granted" || what === "extended";
    if (open && (what === "lapsed" || what === "revoked" || (holds && open.fence !== fence))) {
      spans.push({ ...open, until: at / 1000 });
      open = null;
    }
    if (holds && !open) open = { from: at / 1000, who, fence };
  }
  if (open) spans.push({ ...open, until: run.ended });
  return spans;
};
const strip = (run, lease) => {
  const lens = svg("svg", {
    class: "lens",
    width: "100%",
    height: 24,
    preserveAspectRatio: "none",
    viewBox: `${view[0]} 0 ${view[1] - view[0]} 24`,
  });
  lens.append(svg("rect", { class: "lane", x: 0, y: 4, width: run.ended, height: 14 }));
  const over = svg("svg", { class: "over", height: 24, role: "img", "aria-label": "Who held it" });
  over.append(svg("g", { class: "times" }), lens);
  for (const { from, until, who, fence } of held(run, lease)) {
    const bar = svg("rect", {
      class: `area i${(who % 7) + 1}`,
      x: from,
      y: 4,
      width: until - from,
      height: 14,
    });
    const name = `${lease.names[who]}, fence ${fence}`;
    bar.append(svg("title", {}, `${name}, ${seconds(from)} to ${seconds(until)}`));
    lens.append(bar);
    over.append(
      svg(
        "text",
        { class: "name halo", y: 15, "data-t": Math.round(from), "data-until": Math.round(until) },
        name,
      ),
    );
  }
  const parts = html(
    "div",
    { class: "parts" },
    svg("svg", { class: "left", height: 24 }),
    over,
    svg("svg", { class: "right", height: 24 }),
  );
  return html("figure", { class: "plot" }, parts);
};
const cell = (text, name = "td", kind = "") => html(name, kind ? { class: kind } : {}, text);
const story = (lease) => {
  const head = html(
    "tr",
    {},
    cell("at", "th", "time"),
    cell("what", "th"),
    cell("who", "th"),
    cell("asked at", "th"),
    cell("fence", "th", "number"),
    cell("until", "th", "time"),
  );
  const body = lease.events.map(([at, what, who, node, fence, until]) => {
    const time = html(
      "button",
      { type: "button", class: "jump", "data-jump": Math.round(at / 1000) },
      (at / 1e6).toFixed(6),
    );
    return html(
      "tr",
      { class: what },
      html("td", { class: "time" }, time),
      cell(WORDS[what]),
      cell(lease.names[who]),
      cell(node ? "controller-" + node : ""),
      cell(fence ? String(fence) : "", "td", "number"),
      cell(until ? (until / 1e6).toFixed(3) : "", "td", "time"),
    );
  });
  const table = html("table", {}, html("thead", {}, head), html("tbody", {}, ...body));
  return html(
    "div",
    { class: "story", tabindex: 0, role: "region", "aria-label": "Events" },
    table,
  );
};
const choose = (index) => {
  chosen = index;
  const { run, lease } = leases[index];
  const out = lease.out ? `, and before them ${thousands(lease.out)} that were not kept` : "";
  byId("lease").replaceChildren(
    html("h3", {}, html("code", {}, lease.name)),
    html(
      "p",
      { class: "note" },
      `${several ? run.name + ". " : ""}${lease.events.length} events${out}.`,
    ),
    strip(run, lease),
    story(lease),
  );
  all("#lease-list button").forEach((button) =>
    button.setAttribute("aria-current", String(Number(button.dataset.lease) === index)),
  );
  drawView();
};
const list = (words) => {
  const fits = ({ lease }) =>
    lease.name.toLowerCase().includes(words) ||
    lease.names.some((name) => name.toLowerCase().includes(words));
  const found = leases.map((one, index) => [one, index]).filter(([one]) => fits(one));
  const items = found.slice(0, LISTED).map(([{ run, lease }, index]) => {
    const lapses = lease.events.filter(([, what]) => what === "lapsed").length;
    const said = lapses ? `${lapses} lapsed` : `${lease.events.length} events`;
    const place = several ? ` (${data.runs.indexOf(run) + 1})` : "";
    const button = html(
      "button",
      { type: "button", "data-lease": index, "aria-current": String(index === chosen) },
      short(lease.name) + place,
      html("small", {}, said),
    );
    button.addEventListener("click", () => choose(index));
    return html("li", {}, button);
  });
  const more = found.length - items.length;
  if (more > 0) items.push(html("li", {}, html("p", {}, `and ${more} more: search for them`)));
  if (!items.length) items.push(html("li", {}, html("p", {}, "Nothing here is called that.")));
  byId("lease-list").replaceChildren(...items);
};
const search = byId("lease-search");
if (search && leases.length) {
  search.addEventListener("input", () => list(search.value.trim().toLowerCase()));
  list("");
  choose(0);
}
