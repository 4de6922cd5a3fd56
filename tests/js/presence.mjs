// Keeps lists with the module of flask-socketio-presence, which the server serves, and compares them with the server's:
//   node presence.mjs URL
// The server is the application of tests/support/apps/present.py, which lists three users of a room at most.

import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url] = process.argv.slice(2);
const source = await (await fetch(`${url}/presence.mjs`)).text();
const { Presence } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const TIMEOUT_MS = 10_000;
const opened = [];

function open(user, meta = {}) {
  const socket = io(url, { forceNew: true, auth: user, reconnection: false });
  const presence = new Presence(socket, "doc:7");
  const heard = [];
  let wake = () => {};
  presence.onJoin((name, before) => heard.push(["join", name, before === undefined]));
  presence.onLeave((name, after) => heard.push(["leave", name, after.metas.length === 0]));
  presence.onSync(() => wake());
  socket.on("connect", () => socket.emit("open", "7", meta));
  opened.push(socket);
  const until = (holds, what) =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no ${what}: ${JSON.stringify(presence.state)}`)), TIMEOUT_MS);
      wake = () => {
        if (!holds()) return;
        clearTimeout(late);
        resolve();
      };
      wake();
    });
  return { socket, presence, heard, until };
}

const users = ({ presence }) => presence.list((user) => user).sort().join();
const plain = (presence) =>
  Object.fromEntries(presence.list((user, { metas }) => [user, metas.map(({ phx_ref, ...meta }) => meta)]));
const there = async () => (await (await fetch(`${url}/present/7`)).json());

try {
  const ann = open("ann", { tab: 1 });
  await ann.until(() => users(ann) === "ann", "state");
  const odd = open("__proto__");
  await ann.until(() => ann.presence.count === 2, "second user");
  await odd.until(() => odd.presence.count === 2, "state of the second");
  assert.equal(ann.presence.list().length, 2);
  const tab = open("ann", { tab: 2 });
  await odd.until(() => odd.presence.state.ann.metas.length === 2, "second tab");
  await tab.until(() => tab.presence.count === 2, "state of the tab");
  assert.deepEqual(plain(odd.presence).ann, (await there()).users.ann);
  assert.equal(odd.presence.count, 2);
  tab.socket.disconnect();
  await odd.until(() => odd.presence.state.ann.metas.length === 1, "end of the tab");
  assert.ok(!odd.heard.some(([what, user, last]) => what === "leave" && user === "ann" && last));

  odd.socket.disconnect();
  await ann.until(() => users(ann) === "ann", "end of a user");
  assert.deepEqual(ann.heard.at(-1), ["leave", "__proto__", true]);

  // More than three are counted, and listed again when they are few.
  const others = ["ben", "cat", "dan"].map((user) => open(user));
  await ann.until(() => !ann.presence.isListed && ann.presence.count === 4, "count");
  others[1].socket.disconnect();
  others[2].socket.disconnect();
  await ann.until(() => ann.presence.isListed && users(ann) === "ann,ben", "list");
  assert.deepEqual(plain(ann.presence), (await there()).users);

  // A connection that ends and comes back is told everybody anew.
  ann.socket.disconnect();
  ann.socket.connect();
  await others[0].until(() => users(others[0]) === "ann,ben", "both");
  await ann.until(() => users(ann) === "ann,ben", "both again");
  ann.presence.destroy();
  assert.equal(ann.socket.listeners("presence_diff").length, 0);
} finally {
  for (const socket of opened) socket.close();
}
