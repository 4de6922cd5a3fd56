// Joins the room with a history again and again while much is sent to it, and prints what each client has received:
//   node following.mjs PACKAGE URL CLIENTS PAUSE_MS REWIND LAST...   ->   [[["a", 0], ["a", 1], ...], ...]
// A client is done when it has received each of LAST, such as "a 499". The server is tests/support/apps/histories.py.

const [packageName, url, clients, pause, rewind, ...last] = process.argv.slice(2);
const { io } = await import(packageName);

const all = [];
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function follow(number) {
  const received = [];
  all.push(received);
  const socket = io(url, { forceNew: true, transports: number % 3 ? ["websocket"] : ["polling", "websocket"], reconnectionDelay: 100 });
  const missing = new Set(last);
  socket.on("connect", () => socket.emit(number % 2 ? "follow" : "follow later", Number(rewind)));
  return new Promise((resolve) => {
    socket.on("said", ([name, count, bytes]) => {
      received.push([name, count, bytes.length]);
      missing.delete(`${name} ${count}`);
      if (!missing.size) setTimeout(() => socket.close() && resolve(), 300);
    });
  });
}

setTimeout(() => {
  process.stdout.write(JSON.stringify(all), () => process.exit(1));
}, 45000);
const done = [];
for (let number = 0; number < Number(clients); number++) {
  done.push(follow(number));
  await wait(Number(pause));
}
await Promise.all(done);
process.stdout.write(JSON.stringify(all), () => process.exit(0));
