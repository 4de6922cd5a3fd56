// Visits a room with a history again and again, each time with the offset that it was told at the end of the visit before:
//   node resuming.mjs PACKAGE URLS VISITS STAY_MS AWAY_MS LAST...   ->   {"received": [["a", 0], ...], "complete": [...]}
// It ends with the first visit that has brought each of LAST, such as "a 499", after VISITS visits. URLS are separated
// by commas, and visited in turn. Without ids, what comes while the offset is under way comes once more; it is known by its
// number then.
// The server is tests/support/apps/histories.py.

const [packageName, urls, visits, stay, away, ...last] = process.argv.slice(2);
const { io } = await import(packageName);
const addresses = urls.split(",");
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const received = [];
const complete = [];
const missing = new Set(last);
const known = new Set();
let since = null;
let ids = [];

async function visit(number) {
  const transports = number % 3 ? ["websocket"] : ["polling", "websocket"];
  const socket = io(addresses[number % addresses.length], { forceNew: true, transports, reconnection: false });
  const join = () => socket.timeout(20000).emitWithAck(number % 2 ? "resume" : "resume later", ids.length ? [since, ...ids] : since);
  let noting = true;
  socket.on("said", ([name, count], eventId) => {
    const id = `${name} ${count}`;
    if (!noting) return;
    if (eventId) ids.push(eventId);
    else if (known.has(id)) return;
    known.add(id);
    received.push([name, count]);
    missing.delete(id);
  });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  const [, isComplete] = await join();
  complete.push(isComplete);
  await wait(Number(stay));
  const before = ids.length;
  const [offset] = await join();
  await wait(20);
  noting = false;
  ids = ids.slice(before);
  since = offset;
  socket.close();
}

const print = (status) => process.stdout.write(JSON.stringify({ received, complete }), () => process.exit(status));
setTimeout(() => print(1), 60000);
for (let number = 0; number < Number(visits) || missing.size; number++) {
  await visit(number);
  await wait(Number(away));
}
print(0);
