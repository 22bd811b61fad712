// A browser without a window, spoken to over its debugging pipe: no packages, no ports.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The program to run; nothing if there is none. */
export const find = () => NAMES.find((name) => spawnSync("which", [name]).status === 0);

/** Starts a browser with one empty tab. */
export class Tab {
  static async open(program) {
    const tab = new Tab();
    tab.folder = mkdtempSync(join(tmpdir(), "portcullis-browser-"));
    const options = [
      "--headless=new",
      "--remote-debugging-pipe",
      "--disable-gpu",
      "--no-first-run",
      "--hide-scrollbars",
      "--disable-dev-shm-usage",
      "--force-color-profile=srgb",
      `--user-data-dir=${tab.folder}`,
    ];
    // Its sandbox needs rights that root in a container does not have; the pages are our own.
    if (process.getuid() === 0) options.push("--no-sandbox");
    tab.child = spawn(program, options, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    tab.gone = new Promise((resolve) => tab.child.once("exit", resolve));
    [, , , tab.input, tab.output] = tab.child.stdio;
    tab.waiting = new Map();
    tab.listeners = [];
    tab.serial = 0;
    let rest = "";
    tab.output.setEncoding("utf8");
    tab.output.on("data", (text) => {
      const whole = (rest + text).split("\0");
      rest = whole.pop();
      whole.forEach((message) => tab.receive(JSON.parse(message)));
    });
    const { targetId } = await tab.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await tab.send("Target.attachToTarget", { targetId, flatten: true });
    tab.session = sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await tab.send(`${domain}.enable`);
    return tab;
  }

  receive(message) {
    if (message.id === undefined) {
      this.listeners.forEach((listener) => listener(message.method, message.params));
      return;
    }
    const { resolve, reject } = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }

  send(method, params = {}) {
    this.serial += 1;
    const message = { id: this.serial, method, params };
    if (this.session) message.sessionId = this.session;
    this.input.write(JSON.stringify(message) + "\0");
    return new Promise((resolve, reject) => this.waiting.set(message.id, { resolve, reject }));
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  /** Goes to an address and waits until all of it is loaded. */
  async visit(url) {
    const loaded = new Promise((resolve) => {
      this.listen((method) => method === "Page.loadEventFired" && resolve());
    });
    await this.send("Page.navigate", { url });
    await loaded;
  }

  /** What an expression of the page comes to. */
  async value(expression) {
    const options = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? expression);
    return result.value;
  }

  async size(width, height, mobile = false) {
    const scale = mobile ? 2 : 1;
    await this.send("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: scale,
      mobile,
    });
    await this.send("Emulation.setTouchEmulationEnabled", { enabled: mobile });
    // Two frames, after which it is laid out.
    const frames =
      "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
    await this.value(`${frames}.then(() => 0)`);
  }

  /** The system's theme, or paper. */
  async media(theme, media = "") {
    const features = [{ name: "prefers-color-scheme", value: theme }];
    await this.send("Emulation.setEmulatedMedia", { media, features });
  }

  /** Where the middle of an element is, once it is in view. */
  async middle(selector) {
    const text = JSON.stringify(selector);
    return this.value(`(() => { const e = document.querySelector(${text});
      e.scrollIntoView({ block: "center" }); const b = e.getBoundingClientRect();
      return { x: b.left + b.width / 2, y: b.top + b.height / 2, left: b.left, right: b.right }; })()`);
  }

  async mouse(type, x, y, buttons = 0) {
    const button = type === "mouseMoved" && !buttons ? "none" : "left";
    await this.send("Input.dispatchMouseEvent", { type, x, y, button, buttons, clickCount: 1 });
  }

  async click(selector) {
    const { x, y } = await this.middle(selector);
    await this.mouse("mousePressed", x, y, 1);
    await this.mouse("mouseReleased", x, y);
  }

  async key(key) {
    await this.send("Input.dispatchKeyEvent", {
      type: "keyDown",
      key,
      text: key.length > 1 ? "" : key,
    });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", key });
  }

  /** A picture of what is in view, or of the whole page. */
  async picture(whole = false) {
    const options = { format: "png", captureBeyondViewport: whole };
    const { data } = await this.send("Page.captureScreenshot", options);
    return Buffer.from(data, "base64");
  }

  async close() {
    this.child.kill();
    await this.gone;
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
