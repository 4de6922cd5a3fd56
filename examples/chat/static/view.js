// Everything that touches the document. Text from other people goes through textContent only.

const $ = (id) => document.getElementById(id);
const GROUP_MS = 3 * 60 * 1000; // messages of one person within this time share one heading
const KEPT_EVENTS = 20;
const TICKS = {
  waiting: ["◷", "waiting for the connection"],
  sending: ["◷", "sending"],
  sent: ["✓", "sent"],
  delivered: ["✓✓", "delivered"],
  failed: ["!", "not delivered"],
};

function element(tag, properties = {}, ...children) {
  const { data, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

const clock = (at, seconds) =>
  new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }) });

function hue(key) {
  return [...key].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

function avatar({ who, nick }) {
  const made = element("span", { className: "avatar", textContent: [...nick][0].toUpperCase(), ariaHidden: "true" });
  made.style.setProperty("--hue", hue(who));
  return made;
}

// ---------------------------------------------------------------- connection

export function connection(state, transport) {
  document.body.dataset.state = state;
  $("state").textContent = state === "lost" ? "offline" : state;
  $("transport").textContent = transport;
}

export function detail(name, value) {
  $(`d-${name}`).textContent = value;
}

export function event(text) {
  $("d-events").prepend(element("li", {}, element("time", { textContent: clock(Date.now(), true) }), ` ${text}`));
  while ($("d-events").children.length > KEPT_EVENTS) $("d-events").lastChild.remove();
}

export function serverDetails({ server, mode, queue }) {
  $("server").textContent = `served by ${server}`;
  detail("mode", mode);
  detail("server", server);
  detail("queue", queue ?? "none: one server");
  $("d-note").textContent =
    "One tick means that the server has the message, two that the others in the room have it. A room's last " +
    `${document.body.dataset.kept} messages are kept in the memory of ` +
    (queue
      ? "each server: after a reload you see those that were written at the one that serves you. Messages and " +
        "people reach you from all of them."
      : "this server and end with it.");
}

export function banner(text) {
  $("banner").hidden = text === null;
  if (text !== null) $("banner-text").textContent = text;
}

export function fatal(text) {
  connection("lost", "");
  banner(text);
  $("retry-now").hidden = true;
}

export const onRetryNow = (callback) => $("retry-now").addEventListener("click", callback);

// ---------------------------------------------------------------- rooms and people

export const currentRoom = () => $("messages").dataset.room;

export function enter(room) {
  $("messages").replaceChildren();
  $("messages").dataset.room = room;
  $("empty").hidden = false;
  $("room-title").textContent = room;
  document.title = `#${room} · Chat`;
  $("words").placeholder = `Message #${room}`;
}

export function rooms(counts, current) {
  $("rooms").replaceChildren(
    ...counts.map(([name, count]) => {
      const link = element("a", { href: `#${encodeURIComponent(name)}` }, element("span", { textContent: name }));
      if (count) link.append(element("span", { className: "count", textContent: count, title: `${count} here` }));
      if (name === current) link.setAttribute("aria-current", "page");
      return element("li", {}, link);
    }),
  );
}

export function people(guests, mine, { showServer, onKick }) {
  guests.sort((a, b) => (b.who === mine) - (a.who === mine) || a.nick.localeCompare(b.nick));
  $("people-count").textContent = guests.length;
  $("people").replaceChildren(
    ...guests.map((guest) => {
      const name = element("span", { className: "name", textContent: guest.nick });
      const item = element("li", {}, avatar(guest), name);
      if (guest.who === mine) item.append(element("span", { className: "tag", textContent: "you" }));
      if (showServer) item.append(element("span", { className: "tag", textContent: guest.server, title: "server" }));
      if (onKick && guest.who !== mine) {
        item.append(element("button", { type: "button", className: "quiet", textContent: "✕",
          title: `Remove ${guest.nick}`, ariaLabel: `Remove ${guest.nick}`, onclick: () => onKick(guest) }));
      }
      return item;
    }),
  );
}

export function onNewRoom(callback) {
  $("new-room").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    if ($("room-name").value.trim()) callback($("room-name").value);
    $("new-room").reset();
    sidebar(false);
  });
}

// ---------------------------------------------------------------- messages

export function message({ id, who, nick, text, at }, mine, pending = false) {
  if (document.getElementById(`m-${id}`)) return; // seen live, and again in the history
  const heading = element("p", { className: "heading" }, element("b", { textContent: nick }), " ",
    element("time", { textContent: clock(at), dateTime: new Date(at).toISOString() }));
  const bubble = element("div", { className: "bubble" }, element("p", { className: "text", textContent: text }));
  if (mine) bubble.append(element("p", { className: "tick", textContent: "✓ sent" }));
  const item = element("li", { id: `m-${id}`, className: mine ? "message mine" : "message", data: { at, who } },
    avatar({ who, nick }), heading, bubble);
  if (pending) append(item);
  else insert(item);
  typing({ who }, false);
}

export function note(text) {
  append(element("li", { className: "note", textContent: text }));
}

// The order is that of the server's clock. What has no time of the server's yet comes last, and goes by no other clock.
function append(item) {
  item.dataset.at = $("messages").lastElementChild?.dataset.at ?? 0;
  insert(item);
}

function insert(item) {
  const log = $("log");
  const follow = item.matches(".mine") || log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const before = [...$("messages").children].reverse().find((other) => other !== item && at(other) <= at(item));
  if (before && before !== item.previousElementSibling) before.after(item);
  else if (!before) $("messages").prepend(item);
  $("empty").hidden = true;
  [...$("messages").children].forEach(group);
  if (follow) log.scrollTop = log.scrollHeight;
}

const at = (item) => Number(item.dataset.at);

function group(item) {
  const before = item.previousElementSibling;
  const grouped = item.dataset.who && before?.dataset.who === item.dataset.who && at(item) - at(before) < GROUP_MS;
  item.classList.toggle("grouped", Boolean(grouped));
}

export function tick(id, state, { at: said, trip, error, words = TICKS[state][1] } = {}) {
  const item = document.getElementById(`m-${id}`);
  if (!item) return;
  const [sign] = TICKS[state];
  item.dataset.tick = state;
  const line = item.querySelector(".tick");
  line.replaceChildren(element("span", { textContent: sign, ariaHidden: "true" }), ` ${words}`);
  if (trip) item.dataset.trip = ` · ${trip} ms`;
  line.append(item.dataset.trip ?? "");
  if (state === "failed") {
    if (error) line.append(`: ${error}`);
    line.append(" ", element("button", { type: "button", textContent: "Send again", onclick: () => resend(id) }));
  }
  if (said) {
    item.dataset.at = said;
    insert(item);
  }
}

export function delivered({ id, by, of, missing, complete }) {
  const gone = of - by - missing.length;
  const others = [...missing, ...(gone ? ["somebody who left"] : [])].join(", ");
  if (!of && complete) return tick(id, "sent", { words: "sent, nobody else is here" });
  const unknown = complete || others ? "" : ", perhaps not to all";
  const words = `delivered to ${by} of ${of}${others && `, not to ${others}`}${unknown}`;
  tick(id, complete ? "delivered" : "sent", { words });
}

let resend = () => {};
export function onResend(callback) {
  resend = callback;
}

const typists = new Map();
export function typing({ who, nick }, active = true) {
  clearTimeout(typists.get(who)?.timer);
  if (active) typists.set(who, { nick, timer: setTimeout(() => typing({ who }, false), 3000) });
  else typists.delete(who);
  const names = [...typists.values()].map((typist) => typist.nick);
  const several = names.length > 2 ? "Several people are" : `${names.join(" and ")} ${names.length > 1 ? "are" : "is"}`;
  $("typing").textContent = names.length ? `${several} typing…` : "";
}

export function onTyping(callback) {
  $("words").addEventListener("input", () => $("words").value.trim() && callback());
}

export function onSay(callback) {
  const grow = () => {
    $("words").style.height = "auto";
    $("words").style.height = `${$("words").scrollHeight}px`;
  };
  $("words").addEventListener("input", grow);
  $("words").addEventListener("keydown", (pressed) => {
    if (pressed.key !== "Enter" || pressed.shiftKey || pressed.isComposing) return;
    pressed.preventDefault();
    $("composer").requestSubmit();
  });
  $("composer").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const text = $("words").value.trim();
    if (!text) return;
    callback(text);
    $("words").value = "";
    grow();
  });
}

// ---------------------------------------------------------------- nickname, sidebar

export function askNickname(suggestion) {
  $("nick").value = suggestion;
  $("welcome").showModal();
}

export function onNickname(current, callback) {
  $("rename").addEventListener("click", () => {
    sidebar(false);
    askNickname(current());
  });
  $("welcome").addEventListener("cancel", (cancelled) => {
    if (!current()) cancelled.preventDefault(); // nobody chats without a name
  });
  $("welcome-form").addEventListener("submit", (submitted) => {
    const nick = $("nick").value.trim();
    if (!nick) return submitted.preventDefault();
    callback(nick);
    setTimeout(() => $("words").focus()); // the dialog gives the focus back first
  });
}

function sidebar(open) {
  document.body.classList.toggle("sidebar-open", open);
  $("open-sidebar").setAttribute("aria-expanded", open);
  (open ? $("close-sidebar") : $("open-sidebar")).focus();
}

$("open-sidebar").addEventListener("click", () => sidebar(true));
$("close-sidebar").addEventListener("click", () => sidebar(false));
$("scrim").addEventListener("click", () => sidebar(false));
$("rooms").addEventListener("click", () => sidebar(false));
document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  if (document.body.classList.contains("sidebar-open")) sidebar(false);
  $("connection").open = false;
});
document.addEventListener("click", ({ target }) => {
  if (!$("connection").contains(target)) $("connection").open = false;
});
