// js-libjuju 9.1.0: its typed agent facades, and a user's connection.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, clients] = process.argv.slice(2);
const library = join(clients, "node_modules/@canonical/jujulib/dist/api");
const load = async (path) => (await import(pathToFileURL(join(library, path)))).default;
const { connect } = await import(pathToFileURL(join(library, "client.js")));
const Websocket = createRequire(join(clients, "x"))("websocket").w3cwebsocket;

// Enough TOML for the one file that `portcullis dev` writes.
const file = readFileSync(join(folder, "client.toml"), "utf8");
const value = (key) => JSON.parse(file.match(new RegExp(`^${key} = (.*)$`, "m"))[1]);
const addresses = value("addresses");
const model = value("model");
const accounts = file.matchAll(/^name = (".*")\npassword = (".*")$/gm);
const passwords = Object.fromEntries([...accounts].map((m) => [m[1], m[2]].map(JSON.parse)));

const Leadership = await load("facades/leadership-service/LeadershipServiceV2.js");
const Machiner = await load("facades/machiner/MachinerV5.js");
const Manager = await load("facades/model-manager/ModelManagerV9.js");
const NotifyWatcher = await load("facades/notify-watcher/NotifyWatcherV1.js");
const RaftLeaseV1 = await load("facades/raft-lease/RaftLeaseV1.js");
const RaftLeaseV2 = await load("facades/raft-lease/RaftLeaseV2.js");
const Singular = await load("facades/singular/SingularV2.js");

const options = () => ({ wsclass: Websocket, facades: [Manager], closeCallback: () => {} });

function same(found, wanted) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`found ${a}, not ${b}`);
}

/** A connection's transport after the login of an agent; the library itself logs in users only. */
async function agent(name, tag, at, use) {
  const client = await connect(`wss://${addresses[at]}/model/${model}/api`, options());
  await client._admin.login({
    "auth-tag": tag,
    "client-version": "3.6.4",
    credentials: passwords[name],
    macaroons: [],
    nonce: "",
    "user-data": "",
  });
  try {
    return await use(client._transport);
  } finally {
    client._transport.close();
  }
}

const tests = {
  async a_user_logs_in_and_lists_models() {
    const client = await connect(`wss://${addresses[0]}/api`, options());
    const user = { username: "admin", password: passwords.admin };
    const connection = await client.login(user, "3.6.4");
    const servers = connection.info.servers.flat().map((one) => `${one.value}:${one.port}`);
    same(servers, addresses);
    const params = { all: true, "user-tag": "user-admin" };
    const listed = await connection.facades.modelManager.listModelSummaries(params);
    same(listed.results.map((one) => one.result.uuid), [model]);
    client.logout();
  },

  async a_wrong_password_is_refused() {
    const client = await connect(`wss://${addresses[0]}/api`, options());
    let text = "let in";
    try {
      await client.login({ username: "admin", password: "nope" }, "3.6.4");
    } catch (error) {
      text = error.message;
    }
    // What the library makes of "invalid entity name or password", and of nothing else.
    same(text, "Have you been granted permission to a model on this controller?");
    client._transport.close();
  },

  async leadership_is_claimed_and_denied() {
    const claim = (number, duration) => {
      const unit = `unit-mysql-${number}`;
      return { params: [{ "application-tag": "application-mysql", "unit-tag": unit, duration }] };
    };
    await agent("mysql/0", "unit-mysql-0", 0, async (first) => {
      same(await new Leadership(first, {}).claimLeadership(claim(0, 5)), { results: [{}] });
      await agent("mysql/1", "unit-mysql-1", 1, async (second) => {
        const facade = new Leadership(second, {});
        const denied = await facade.claimLeadership(claim(1, 5));
        same(denied.results[0].error.code, "leadership claim denied");
        same(await facade.blockUntilLeadershipReleased({ Name: "mysql" }), {});
      });
    });
  },

  async a_controller_machine_is_responsible() {
    await agent("machine-1", "machine-1", 0, async (transport) => {
      const claims = [
        { "entity-tag": `model-${model}`, "claimant-tag": "machine-1", duration: 1e9 },
        { "entity-tag": `model-${model}`, "claimant-tag": "machine-2", duration: 1e9 },
        { "entity-tag": `model-${model}`, "claimant-tag": "machine-1", duration: 61e9 },
      ];
      const facade = new Singular(transport, {});
      const { results } = await facade.claim({ claims });
      same(results.map((one) => one.error?.code ?? "done"), [
        "done",
        "unauthorized access",
        "unauthorized access",
      ]);
      same(await facade.wait({ entities: [{ tag: `model-${model}` }] }), { results: [{}] });
    });
  },

  async leases_are_handed_on() {
    const command = (operation, holder) => ({
      version: 1,
      operation,
      namespace: "application-leadership",
      "model-uuid": model,
      lease: "postgres",
      holder,
      duration: operation === "revoke" ? 0 : 60e9,
    });
    await agent("machine-2", "machine-2", 1, async (transport) => {
      const { results } = await new RaftLeaseV2(transport, {}).applyLease({
        commands: [
          command("claim", "postgres/0"),
          command("claim", "postgres/1"),
          command("extend", "postgres/1"),
          command("revoke", "postgres/0"),
        ],
      });
      const types = results.map((one) => one.error?.info.type ?? "done");
      same(types, ["done", "lease-held", "lease-invalid", "done"]);
      const lines = Object.entries(command("claim", "postgres/1")).map((one) => one.join(": "));
      const commands = [{ command: lines.join("\n") }];
      same(await new RaftLeaseV1(transport, {}).applyLease({ commands }), { results: [{}] });
    });
  },

  async addresses_are_watched() {
    await agent("machine-3", "machine-3", 2, async (transport) => {
      const machiner = new Machiner(transport, {});
      const { servers } = await machiner.aPIHostPorts({});
      same(servers.flat().map((one) => `${one.value}:${one.port}`), addresses);
      const made = await machiner.watchAPIHostPorts({});
      // The typed facade has no place for the name of its watcher, which goes beside the rest.
      const write = (request, resolve, reject) =>
        transport.write({ ...request, id: made["watcher-id"] }, resolve, reject);
      const watcher = new NotifyWatcher({ write }, {});
      same(await watcher.next({}), {});
      const pending = watcher.next({}).then(
        () => "changed",
        (error) => error.message,
      );
      same(await watcher.stop({}), {});
      same(await pending, "watcher has been stopped");
    });
  },

  async a_message_in_fragments_is_understood() {
    await agent("machine-1", "machine-1", 0, async (transport) => {
      // The library cuts whatever is longer than 16 KiB into frames.
      const claims = Array.from({ length: 60 }, () => ({
        "entity-tag": "x".repeat(400),
        "claimant-tag": "machine-1",
        duration: 1e9,
      }));
      const { results } = await new Singular(transport, {}).claim({ claims });
      same(results.length, 60);
    });
  },
};

const PATIENCE = 60_000;
let failed = false;
for (const [name, test] of Object.entries(tests)) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("took too long")), PATIENCE);
  });
  try {
    await Promise.race([test(), late]);
    console.log(`ok jujulib ${name}`);
  } catch (error) {
    failed = true;
    console.log(`failed jujulib ${name}`);
    console.error(error);
  }
  clearTimeout(timer);
}
process.exit(failed ? 1 : 0);
