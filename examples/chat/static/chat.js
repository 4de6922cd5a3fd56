// The chat's client: what it says to the server, what it hears, and what it does when the line is cut.
// Drawing is view.js's business; no message touches innerHTML anywhere.

import * as view from "./view.js";

const ACK_TIMEOUT_MS = 8000; // after that a message counts as not delivered and can be sent again
const SILENCE_MS = 5000; // another process that says nothing for so long is taken for gone (it speaks every 2 s)
const TYPING_EVERY_MS = 1500;

const standardRooms = document.body.dataset.rooms.split(" ");
const me = { who: recall(sessionStorage, "who") ?? randomId(), nick: recall(sessionStorage, "nick") ?? "" };
store(sessionStorage, "who", me.who);

let server = null; // what "hello" told: process, mode, queue
let room = null; // the room we are in, or null until the server has agreed
const outbox = []; // our messages in order, until the server has acknowledged them
let typedAt = 0;
const processes = new Map(); // presence by server process: { version, heardAt, guests }

// ---------------------------------------------------------------- connection

if (typeof io === "undefined") {
  view.fatal("The Socket.IO client did not load. Run “npm ci” in examples/chat, or go online for the CDN.");
  throw new Error("socket.io-client is missing");
}

// "?transports=polling" or "?transports=websocket" in the address shows the page on one transport.
const transports = new URLSearchParams(location.search).get("transports")?.split(",");
const socket = io({
  autoConnect: false,
  reconnectionDelay: 500,
  reconnectionDelayMax: 4000,
  ...(transports && { transports }),
});
let openedAt = performance.now();
let lostAt = null;

socket.io.on("open", () => {
  const engine = socket.io.engine;
  showTransport(engine.transport.name);
  view.event(`${lostAt ? "reconnected" : "connected"} by ${engine.transport.name}`);
  engine.once("upgrade", (transport) => {
    showTransport(transport.name);
    view.event(`upgraded to ${transport.name} after ${Math.round(performance.now() - openedAt)} ms`);
  });
});

function showTransport(name) {
  view.detail("transport", name);
  if (socket.connected) view.connection("connected", name);
}

socket.on("connect", () => {
  processes.clear();
  showTransport(socket.io.engine.transport.name);
  view.detail("sid", socket.id);
  view.banner(null);
  if (me.nick) join(wantedRoom());
});

socket.on("disconnect", (reason) => {
  lostAt = Date.now();
  room = null;
  view.connection("lost", "");
  view.detail("transport", "none");
  view.detail("sid", "none");
  view.event(`connection lost: ${reason}`);
  view.banner(socket.active ? "Connection lost. Trying to reconnect…" : "The server ended this connection.");
});

socket.on("connect_error", (error) => {
  view.connection("lost", "");
  view.event(`no connection: ${error.message}`);
  if (!lostAt) view.banner(`Cannot connect: ${error.message}. Trying again…`);
});

socket.io.on("reconnect_attempt", (attempt) => {
  openedAt = performance.now();
  view.connection("connecting", "");
  view.banner(`${lostAt ? "Connection lost" : "No connection"}. Attempt ${attempt} to reconnect…`);
});

view.onRetryNow(() => {
  socket.disconnect(); // ends the waiting between two attempts
  openedAt = performance.now();
  socket.connect();
});

socket.on("hello", (hello) => {
  if (server && server.process !== hello.process) view.event(`now served by process ${hello.process}`);
  server = hello;
  view.serverDetails(hello);
});

// ---------------------------------------------------------------- rooms and people

function wantedRoom() {
  return decodeURIComponent(location.hash.slice(1)).trim().toLowerCase().slice(0, 24) || standardRooms[0];
}

async function join(wanted) {
  let answer;
  try {
    answer = await socket.timeout(ACK_TIMEOUT_MS).emitWithAck("join", { ...me, room: wanted });
  } catch {
    if (socket.connected) view.banner(`The server did not answer when asked for #${wanted}.`);
    return;
  }
  if (answer.error) return view.banner(answer.error);
  if (view.currentRoom() !== answer.room) {
    outbox.length = 0; // whatever was not delivered belonged to the other room
    view.enter(answer.room);
  }
  room = answer.room;
  answer.history.forEach((message) => view.message(message, message.who === me.who));
  if (lostAt) view.note(`Reconnected after ${Math.max(1, Math.round((Date.now() - lostAt) / 1000))} s`);
  lostAt = null;
  drawPresence();
  flush();
}

socket.on("presence", ({ process, version, guests }) => {
  const known = processes.get(process);
  if (known && known.version > version) return; // two emits may overtake each other
  processes.set(process, { version, heardAt: Date.now(), guests });
  if (known && room) announce(known.guests, guests);
  drawPresence();
});

function announce(before, after) {
  const here = (guests) => new Map(guests.filter((g) => g.room === room && g.who !== me.who).map((g) => [g.who, g.nick]));
  const [old, now] = [here(before), here(after)];
  for (const [who, nick] of now) {
    if (!old.has(who)) view.note(`${nick} joined`);
    else if (old.get(who) !== nick) view.note(`${old.get(who)} is now called ${nick}`);
  }
  for (const [who, nick] of old) if (!now.has(who)) view.note(`${nick} left`);
}

function drawPresence() {
  const guests = [...processes].flatMap(([process, { guests }]) => guests.map((guest) => ({ ...guest, process })));
  const people = new Map(guests.filter((guest) => guest.room === room).map((guest) => [guest.who, guest]));
  const names = new Set([...standardRooms, wantedRoom(), ...guests.map((guest) => guest.room)]);
  const counts = [...names].map((name) => [name, new Set(guests.filter((g) => g.room === name).map((g) => g.who)).size]);
  view.rooms(counts, room ?? wantedRoom());
  view.people([...people.values()], me.who, processes.size > 1);
}

setInterval(() => {
  for (const [process, { heardAt, guests }] of processes) {
    if (process === server?.process || Date.now() - heardAt < SILENCE_MS) continue;
    processes.delete(process);
    if (room) announce(guests, []);
    drawPresence();
  }
}, 1000);

window.addEventListener("hashchange", () => {
  if (me.nick && socket.connected && wantedRoom() !== room) join(wantedRoom());
});

view.onNewRoom((name) => (location.hash = encodeURIComponent(name.trim().toLowerCase())));

// ---------------------------------------------------------------- messages

// One message is under way at a time, so that they arrive in the order in which they were written.
async function flush() {
  const entry = outbox.find(({ state }) => state === "waiting");
  if (!room || !entry || outbox.some(({ state }) => state === "sending")) return;
  mark(entry, "sending");
  const startedAt = performance.now();
  let answer;
  try {
    answer = await socket.timeout(ACK_TIMEOUT_MS).emitWithAck("say", { id: entry.id, room, text: entry.text });
  } catch {
    answer = null;
  }
  if (!outbox.includes(entry)) return; // we went to another room meanwhile
  if (answer?.at) {
    const trip = Math.max(1, Math.round(performance.now() - startedAt));
    outbox.splice(outbox.indexOf(entry), 1);
    mark(entry, "delivered", { at: answer.at, trip });
    view.detail("trip", `${trip} ms`);
  } else {
    mark(entry, socket.connected ? "failed" : "waiting", { error: answer?.error });
  }
  flush();
}

function mark(entry, state, more = {}) {
  entry.state = state;
  view.tick(entry.id, state, more);
}

view.onSay((text) => {
  const entry = { id: randomId(), text, state: "waiting" };
  outbox.push(entry);
  typedAt = 0;
  view.message({ ...entry, ...me, at: Date.now() }, true, true);
  mark(entry, "waiting");
  flush();
});

view.onResend((id) => {
  const entry = outbox.find((other) => other.id === id);
  if (entry) mark(entry, "waiting");
  flush();
});

socket.on("message", (message) => {
  if (message.room === room) view.message(message, message.who === me.who);
});

socket.on("typing", (guest) => guest.room === room && view.typing(guest));

view.onTyping(() => {
  if (!room || Date.now() - typedAt < TYPING_EVERY_MS) return;
  typedAt = Date.now();
  socket.volatile.emit("typing"); // of no use later: not kept while there is no connection
});

// ---------------------------------------------------------------- start

view.onNickname(() => me.nick, (nick) => {
  me.nick = nick;
  store(sessionStorage, "nick", nick);
  store(localStorage, "nick", nick);
  if (socket.connected) join(wantedRoom());
});

drawPresence();
view.enter(wantedRoom());
socket.connect();
if (!me.nick) view.askNickname(recall(localStorage, "nick") ?? "");

function randomId() { // crypto.randomUUID() is missing on plain http:// outside localhost
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function recall(storage, key) { // a browser may forbid storage; the chat works without
  try {
    return storage.getItem(`chat.${key}`);
  } catch {
    return null;
  }
}

function store(storage, key, value) {
  try {
    storage.setItem(`chat.${key}`, value);
  } catch {
    // See recall().
  }
}
