// The chat's client: what it says to the server, what it hears, and what it does when the line is cut.
// Drawing is view.js's business; no message touches innerHTML anywhere.

import { Presence } from "/presence.mjs"; // from the plugin's package

import * as view from "./view.js";

const ACK_TIMEOUT_MS = 8000; // after that a message counts as not delivered and can be sent again
const TYPING_EVERY_MS = 1500;

const standardRooms = document.body.dataset.rooms.split(" ");
const secret = recall(sessionStorage, "secret") ?? randomId(); // a user is a tab: what it knows makes it this one
store(sessionStorage, "secret", secret);
const me = { who: "", nick: recall(sessionStorage, "nick") ?? "" };

let server = null; // what "hello" told: its name, mode, queue
let room = null; // the room we are in, or null until the server has agreed
const outbox = []; // our messages in order, until the server has acknowledged them
let typedAt = 0;
let guests = []; // everybody on all servers: who, nick, room, server
let kicked = false;

// ---------------------------------------------------------------- connection

if (typeof io === "undefined") {
  view.fatal("The Socket.IO client did not load. Run “npm ci” in examples/chat, or go online for the CDN.");
  throw new Error("socket.io-client is missing");
}

// "?transports=polling" or "?transports=websocket" in the address shows the page on one transport.
const address = new URLSearchParams(location.search);
const transports = address.get("transports")?.split(",");
const socket = io({
  autoConnect: false,
  auth: { secret, moderator: address.get("moderator") ?? "" },
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
  kicked = false;
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
  const end = kicked ? "A moderator has removed you from the chat." : "The server ended this connection.";
  view.banner(socket.active ? "Connection lost. Trying to reconnect…" : end);
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
  if (server && server.server !== hello.server) view.event(`now served by ${hello.server}`);
  server = hello;
  me.who = hello.who;
  view.serverDetails(hello);
});

// ---------------------------------------------------------------- rooms and people

function wantedRoom() {
  return decodeURIComponent(location.hash.slice(1)).trim().toLowerCase().slice(0, 24) || standardRooms[0];
}

async function join(wanted) {
  let answer;
  try {
    answer = await socket.timeout(ACK_TIMEOUT_MS).emitWithAck("join", { nick: me.nick, room: wanted });
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

// The server tells of everybody once, then of what changes; who only loads the page again is never away.
const presence = new Presence(socket, "guests");
presence.onSync(() => {
  const before = guests;
  guests = presence.list((who, { metas }) => metas.map((meta) => ({ who, ...meta }))).flat();
  if (room) announce(before, guests);
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
  const people = new Map(guests.filter((guest) => guest.room === room).map((guest) => [guest.who, guest]));
  const names = new Set([...standardRooms, wantedRoom(), ...guests.map((guest) => guest.room)]);
  const counts = [...names].map((name) => [name, new Set(guests.filter((g) => g.room === name).map((g) => g.who)).size]);
  const servers = new Set(guests.map((guest) => guest.server));
  view.rooms(counts, room ?? wantedRoom());
  view.people([...people.values()], me.who, { showServer: servers.size > 1, onKick: server?.isModerator && kick });
}

async function kick({ who, nick }) {
  try {
    const answer = await socket.timeout(ACK_TIMEOUT_MS).emitWithAck("kick", { who });
    view.note(answer.error ?? `You have removed ${nick}`);
  } catch {
    view.note(`It is not known whether ${nick} was removed: the server did not answer`);
  }
}

socket.on("kicked", () => (kicked = true)); // the connection ends next

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
    mark(entry, "sent", { at: answer.at, trip });
    if (entry.delivery) view.delivered(entry.delivery);
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

socket.on("message", (message, acknowledge) => {
  if (message.room !== room) return;
  view.message(message, message.who === me.who);
  acknowledge(); // its author hears who has it
});

socket.on("delivery", (delivery) => {
  const entry = outbox.find(({ id }) => id === delivery.id);
  if (entry) entry.delivery = delivery; // it has overtaken the acknowledgement
  else view.delivered(delivery);
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
