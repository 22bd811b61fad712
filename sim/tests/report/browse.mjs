// A report in a real browser: it must work without network, without errors, by mouse, by touch and by
// keys, in both themes and on a phone.
//
//     node browse.mjs PAGE.html [FOLDER FOR PICTURES]

import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { Tab, find } from "./browser.mjs";

const [page, folder] = process.argv.slice(2);
const program = find();
if (!program) {
  console.log("report: no chromium is installed, so no page was looked at");
  process.exit(process.env.CI === "true" ? 1 : 0);
}

let failed = 0;
const check = (what, holds, seen = "") => {
  console.log(`${holds ? "ok" : "failed"} ${what}${holds ? "" : `: ${JSON.stringify(seen)}`}`);
  if (!holds) failed += 1;
};
const tab = await Tab.open(program);
const wrong = [];
tab.listen((method, params) => {
  if (method === "Runtime.exceptionThrown")
    wrong.push(params.exceptionDetails.exception?.description);
  if (method === "Runtime.consoleAPICalled" && params.type === "error") wrong.push(params.args);
  if (method === "Log.entryAdded" && params.entry.level === "error") wrong.push(params.entry.text);
  const asked = method === "Network.requestWillBeSent" ? params.request.url : "";
  if (asked && !/^(file|data):/.test(asked)) wrong.push(asked);
});
const shoot = async (name, whole = false) => {
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.png`), await tab.picture(whole));
};
const text = (selector) =>
  tab.value(`document.querySelector(${JSON.stringify(selector)}).textContent`);
const lens = () => tab.value(`document.querySelector(".lens").getAttribute("viewBox")`);
const paper = () => tab.value(`getComputedStyle(document.body).backgroundColor`);

const looks = async () => {
  await tab.media("light");
  await tab.size(1280, 900);
  await tab.visit(pathToFileURL(resolve(page)).href);
  await shoot("light", true);
  const doubled = `[...document.querySelectorAll("[id]")].length
    !== new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size`;
  check("every id is there once", !(await tab.value(doubled)));
  const dangling = `[...document.querySelectorAll("nav a")].map((a) => a.getAttribute("href"))
    .filter((href) => !document.querySelector(href))`;
  const lost = await tab.value(dangling);
  check("every link of the head leads somewhere", lost.length === 0, lost);
  const tall = `[...document.querySelectorAll(".panel .over")].every((e) => e.getBBox().width > 0)`;
  check("every panel is drawn", await tab.value(tall));
};

const reads = async () => {
  const plot = ".panel[data-panel=clock] .over";
  const { x, y, left, right } = await tab.middle(plot);
  await tab.mouse("mouseMoved", x, y);
  const until = (await lens()).split(" ").map(Number)[2];
  const now = parseFloat((await text("#now")).replace("at ", ""));
  check("hovering reads the instant", Math.abs(now * 1000 - until / 2) < until / 100, now);
  const value = await text(".panel[data-panel=clock] .value");
  check("and the values then", /^[0-9.]+\u2009?[0-9]* (s|ms|µs)$/.test(value), value);
  await shoot("hover");
  const span = right - left;
  await tab.mouse("mousePressed", left + span / 4, y, 1);
  await tab.mouse("mouseMoved", left + span / 3, y, 1);
  await tab.mouse("mouseMoved", left + span / 2, y, 1);
  await tab.mouse("mouseReleased", left + span / 2, y);
  const [from, , shown] = (await lens()).split(" ").map(Number);
  const fits = Math.abs(from - until / 4) < until / 50 && Math.abs(shown - until / 4) < until / 50;
  check("dragging zooms", fits, [from, shown, until]);
  await shoot("zoomed");
  await tab.click("#reset");
  check("and the button shows all again", (await lens()).startsWith(`0 0 ${until} `), await lens());
  await tab.value(`document.getElementById("panels").focus()`);
  await tab.key("+");
  check("a key zooms as well", Number((await lens()).split(" ")[2]) < until, await lens());
  await tab.key("0");
  check("and another shows all", (await lens()).startsWith(`0 0 ${until} `), await lens());
  await tab.key("Home");
  await tab.key("ArrowRight");
  check("arrows move the cursor", (await text("#now")) !== "at 0.000 s", await text("#now"));
};

// Of a run with a front: its panels are there, in every column, and can be read.
const front = async () => {
  const panels = `[...document.querySelectorAll(".panel")].map((e) => e.dataset.panel)`;
  const ids = await tab.value(panels);
  if (!ids.some((id) => id.startsWith("front-"))) return;
  const wanted = ["front-backends", "front-health", "front-door"];
  const places = wanted.map((id) => ids.indexOf(id));
  const first = ids.indexOf("connections") + 1;
  check(
    "a front's panels stand beside the connections",
    places.every((place, number) => place === first + number),
    ids,
  );
  const runs = await tab.value(`document.querySelectorAll(".panel[data-panel=clock] .column").length`);
  const columns = wanted.map(
    (id) => `document.querySelectorAll(".panel[data-panel=${id}] .column").length`,
  );
  for (const count of columns)
    check("with a column for each run", (await tab.value(count)) === runs, runs);
  const plot = ".panel[data-panel=front-backends] .over";
  await tab.value(`document.querySelector(${JSON.stringify(plot)}).scrollIntoView({ block: "center" })`);
  const { x, y } = await tab.middle(plot);
  await tab.mouse("mouseMoved", x, y);
  const value = await text(".panel[data-panel=front-backends] .value");
  check("hovering reads a controller's connections", /^[0-9\u2009]+$/.test(value), value);
  const health = `[...document.querySelectorAll(".panel[data-panel=front-health] text")]
    .map((e) => e.textContent)`;
  const lanes = await tab.value(health);
  check(
    "each controller has a lane",
    ["controller-1", "controller-2", "controller-3"].every((name) => lanes.includes(name)),
    lanes,
  );
  await shoot("front");
};

const leases = async () => {
  const count = await tab.value(`document.querySelectorAll("#lease-list button").length`);
  if (count === 0) return;
  const last = `[...document.querySelectorAll("#lease-list button")].at(-1)`;
  const name = await tab.value(`${last}.firstChild.textContent`);
  await tab.click(`#lease-list button[data-lease="${await tab.value(`${last}.dataset.lease`)}"]`);
  const head = await text("#lease h3");
  check("clicking a lease tells its story", name.split(" ")[0] === head.split("/").pop(), [
    name,
    head,
  ]);
  const rows = await tab.value(`document.querySelectorAll("#lease tbody tr").length`);
  check("with its events", rows > 0, rows);
  await shoot("lease");
  await tab.value(`(() => { const search = document.getElementById("lease-search");
    search.value = "nobody is called so"; search.dispatchEvent(new Event("input")); })()`);
  check("what is not there is said so", (await text("#lease-list")).includes("Nothing"));
  await tab.click("#lease .jump");
  check("an event leads to its moment", (await text("#now")).startsWith("at "));
};

const themes = async () => {
  const light = await paper();
  await tab.media("dark");
  const dark = await paper();
  check("the system's theme is followed", light !== dark, [light, dark]);
  await tab.value("scrollTo(0, 0)");
  await shoot("dark", true);
  await tab.click("#theme");
  check("the button turns to light", (await paper()) === light, await text("#theme"));
  await tab.click("#theme");
  await tab.media("light");
  check("and to dark, whatever the system has", (await paper()) === dark, await text("#theme"));
  await tab.click("#theme");
};

const phone = async () => {
  await tab.size(360, 740, true);
  const wide = await tab.value("document.documentElement.scrollWidth");
  check("a phone scrolls down alone", wide <= 360, wide);
  const { x, y } = await tab.middle(".panel .over");
  await tab.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x, y }] });
  await tab.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  check("a tap reads the instant", (await text("#now")).startsWith("at "), await text("#now"));
  await tab.value("scrollTo(0, 0)");
  await shoot("phone", true);
  await tab.media("dark");
  await shoot("phone-dark");
};

try {
  await looks();
  await reads();
  await front();
  await leases();
  await themes();
  await phone();
  check("nothing went wrong, and nothing was fetched", wrong.length === 0, wrong);
} finally {
  await tab.close();
}
process.exit(failed > 0 ? 1 : 0);
