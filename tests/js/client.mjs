// Runs every check of one client version against one server and prints what failed:
//   node client.mjs PACKAGE URL   ->   {"check name": null | "what went wrong", ...}
// The server is the application of tests/support/apps/clients.py.

import assert from "node:assert/strict";

const [packageName, url] = process.argv.slice(2);
const { io } = await import(packageName);
const TIMEOUT_MS = 4000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const once = (emitter, event) => within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

// The acknowledgement's arguments; emitWithAck() is not in 3.x and gives only the first.
const ask = (socket, event, ...args) =>
  within(new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer))), `ack of ${event}`);

const opened = [];

function open(namespace = "/", options = {}) {
  const socket = io(url + namespace, { forceNew: true, reconnection: false, ...options });
  opened.push(socket);
  return socket;
}

async function connected(namespace, options) {
  const socket = open(namespace, options);
  const outcome = await within(
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
    "connect",
  );
  assert.equal(outcome, undefined);
  return socket;
}

const bytes = (...values) => Buffer.from(values);
const plain = (value) => (Buffer.isBuffer(value) || value instanceof ArrayBuffer ? [...Buffer.from(value)] : value);

async function refusal(options, namespace = "/") {
  const socket = open(namespace, options);
  const [error] = await once(socket, "connect_error");
  assert.equal(socket.connected, false);
  return error;
}

const both = { websocket: { transports: ["websocket"] }, polling: { transports: ["polling"] } };

async function transferBinary(socket) {
  // 48 to 57 are the digits: what a packet type looks like to a careless parser.
  for (const sent of [bytes(0, 255), bytes(48, 49), bytes(52, 34), bytes(98, 57), bytes()]) {
    const [answer] = await ask(socket, "echo", sent);
    assert.deepEqual(plain(answer), [...sent]);
    socket.emit("echo by event", { deep: [sent] });
    const [event] = await once(socket, "echoed");
    assert.deepEqual(plain(event.deep[0]), [...sent]);
  }
}

const checks = {
  async connect() {
    const socket = await connected();
    assert.match(socket.id, /^\S{16,}$/);
  },
  async "refusal by false"() {
    const error = await refusal({ auth: { enter: "never" } });
    assert.equal(error.message, "Connection rejected by server");
  },
  async "refusal with data"() {
    for (const options of Object.values(both)) {
      const error = await refusal({ auth: { enter: "explain" }, ...options });
      assert.equal(error.message, "no entry");
      assert.deepEqual(error.data, { code: 401 });
    }
  },
  async "unknown namespace"() {
    assert.equal((await refusal({}, "/nowhere")).message, "Invalid namespace");
  },
  async polling() {
    const socket = await connected("/", both.polling);
    assert.deepEqual(await ask(socket, "transport"), ["polling"]);
    assert.equal(socket.io.engine.transport.name, "polling");
  },
  async websocket() {
    const socket = await connected("/", both.websocket);
    assert.deepEqual(await ask(socket, "transport"), ["websocket"]);
  },
  async upgrade() {
    const socket = open();
    await once(socket.io, "open");
    const engine = socket.io.engine;
    const [transport] = engine.transport.name === "websocket" ? [engine.transport] : await once(engine, "upgrade");
    assert.equal(transport.name, "websocket");
    assert.deepEqual(await ask(socket, "echo", 1), [1]);
    assert.deepEqual(await ask(socket, "transport"), ["websocket"]);
  },
  async "text over websocket"() {
    const socket = await connected("/", both.websocket);
    const sent = ["naïve ☃ 𝄞 \u0000 \u001e", 1.5, null, true, { a: [{}] }];
    assert.deepEqual(await ask(socket, "echo", ...sent), sent);
  },
  async "text over polling"() {
    const socket = await connected("/", both.polling);
    const sent = ["naïve ☃ 𝄞 \u0000 \\u001e", 1.5, null, true, { a: [{}] }];
    assert.deepEqual(await ask(socket, "echo", ...sent), sent);
  },
  async "binary over websocket"() {
    await transferBinary(await connected("/", both.websocket));
  },
  async "binary over polling"() {
    await transferBinary(await connected("/", both.polling));
  },
  async "big messages"() {
    for (const options of Object.values(both)) {
      const socket = await connected("/", options);
      const [text] = await ask(socket, "echo", "x".repeat(600_000));
      assert.equal(text.length, 600_000);
      const [data] = await ask(socket, "echo", Buffer.alloc(600_000, 52));
      assert.equal(plain(data).length, 600_000);
    }
  },
  async "ack of the client"() {
    const socket = await connected();
    socket.on("question", (...args) => args.pop()(...args, bytes(48)));
    const [how, two, data] = await ask(socket, "call me", "how", 2);
    assert.deepEqual([how, two, plain(data)], ["how", 2, [48]]);
  },
  async "message"() {
    const socket = await connected();
    socket.send("text");
    assert.deepEqual(await once(socket, "message"), ["got text"]);
  },
  async "events come in order"() {
    for (const options of Object.values(both)) {
      const socket = await connected("/", options);
      const numbers = [];
      socket.on("number", (number) => numbers.push(number));
      await ask(socket, "count", 200);
      assert.deepEqual(numbers, [...Array(200).keys()]);
    }
  },
  async "whatever is sent can be read"() {
    const sockets = await Promise.all([connected("/", both.polling), connected("/", both.websocket)]);
    const [speaker] = sockets;
    for (const refused of ["nan", "infinity", "reserved", "no text", "eleven", "lookalike"]) {
      assert.match((await ask(speaker, "try to say", refused))[0], /cannot be sent/, refused);
    }
    for (const [sent, count] of Object.entries({ ten: 10, large: 4, placeholder: 1, view: 1 })) {
      const heard = sockets.map((socket) => once(socket, "unusual"));
      assert.deepEqual(await ask(speaker, "try to say", sent), ["sent"]);
      for (const values of await Promise.all(heard)) assert.equal(values.length, count, sent);
    }
    for (const socket of sockets) assert.equal(socket.connected, true);
  },
  async "a number that is none closes its sender only"() {
    const others = await Promise.all([connected("/", both.polling), connected("/", both.websocket)]);
    for (const number of ["NaN", "-Infinity", "1e999"]) {
      for (const options of Object.values(both)) {
        const culprit = await connected("/", options);
        const gone = once(culprit, "disconnect");
        culprit.io.engine.write(`2["rebroadcast",${number}]`);
        await gone;
      }
    }
    const heard = others.map((socket) => once(socket, "rebroadcast"));
    others[0].emit("rebroadcast", 1);
    assert.deepEqual(await Promise.all(heard), [[1], [1]]);
  },
  async rooms() {
    const [speaker, member, stranger] = await Promise.all([connected(), connected("/", both.polling), connected()]);
    const heard = [];
    stranger.on("said", (text) => heard.push(text));
    await ask(member, "join", "js room");
    const said = once(member, "said");
    await ask(speaker, "say", "js room", "hello");
    assert.deepEqual(await said, ["hello"]);
    await ask(member, "leave", "js room");
    member.on("said", (text) => heard.push(text));
    await ask(speaker, "say", "js room", "anyone?");
    await Promise.all([ask(member, "echo"), ask(stranger, "echo")]);
    assert.deepEqual(heard, []);
  },
  async namespaces() {
    const socket = await connected();
    const refused = socket.io.socket("/private");
    refused.connect();
    assert.equal((await once(refused, "connect_error"))[0].message, "a token is needed");
    const other = await connected("/private", { auth: { token: "secret" } });
    assert.deepEqual(await ask(other, "echo", 1), [["private", 1]]);
    assert.deepEqual(await ask(socket, "echo", 1), [1]);
  },
  async "disconnect by the server"() {
    for (const options of Object.values(both)) {
      const socket = await connected("/", options);
      const gone = once(socket, "disconnect");
      socket.emit("kick me");
      assert.equal((await gone)[0], "io server disconnect");
      assert.equal(socket.connected, false);
    }
  },
  async "disconnect by the client"() {
    for (const [name, options] of Object.entries(both)) {
      const socket = await connected("/", options);
      await ask(socket, "remember", `js left ${name}`);
      const gone = once(socket, "disconnect");
      socket.disconnect();
      assert.equal((await gone)[0], "io client disconnect");
    }
  },
  async session() {
    const socket = await connected("/", { auth: { who: "js" } });
    await ask(socket, "remember", "kept");
    assert.deepEqual(await ask(socket, "recall"), [["kept", { who: "js" }, null]]);
  },
  async reconnect() {
    const socket = await connected("/", { reconnection: true, reconnectionDelay: 20, transports: ["websocket"] });
    const first = socket.id;
    socket.io.engine.close();
    await once(socket, "connect");
    assert.notEqual(socket.id, first);
    assert.deepEqual(await ask(socket, "echo", 1), [1]);
  },
  async "broadcast from a view"() {
    const sockets = await Promise.all([connected("/", both.polling), connected("/", both.websocket)]);
    const heard = sockets.map((socket) => once(socket, "announced"));
    await fetch(`${url}/announce/js`);
    assert.deepEqual(await Promise.all(heard), [["js"], ["js"]]);
  },
};

const results = {};
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    results[name] = null;
  } catch (error) {
    results[name] = error.stack ?? String(error);
  }
  for (const socket of opened.splice(0)) socket.disconnect();
}
process.stdout.write(JSON.stringify(results));
process.exit(0);
