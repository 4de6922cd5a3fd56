// Clients of one version on several workers:  node workers.mjs PACKAGE URL COUNT [TRANSPORT...]
// Prints one line of JSON when all are connected, and one with what each has received at the end of its input.
// The server is the application of tests/support/apps/workers.py.

const [packageName, url, count, ...transports] = process.argv.slice(2);
const { io } = await import(packageName);
const READY_MS = 30000;

const clients = Array.from({ length: Number(count) }, () => {
  const socket = io(url, {
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
    ...(transports.length ? { transports } : {}),
  });
  const client = { socket, sids: [], received: [], errors: [], stays: false };
  socket.io.on("open", () => socket.io.engine.on("upgradeError", () => (client.stays = true)));
  socket.on("connect", () => client.sids.push(socket.id));
  socket.on("connect_error", (error) => client.errors.push(`${error} ${error.description} ${error.context?.responseText}`));
  socket.on("announced", (told) => client.received.push(told));
  socket.on("question", (pid, answer) => answer(socket.id));
  return client;
});

const settled = ({ socket, stays }) =>
  socket.connected && (transports.length === 1 || stays || socket.io.engine.transport.name === "websocket");

const started = Date.now();
while (!clients.every(settled) && Date.now() - started < READY_MS) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}

const ask = ({ socket }, ...event) =>
  Promise.race([
    new Promise((resolve) => socket.emit(...event, resolve)),
    new Promise((resolve) => setTimeout(resolve, 8000, null)),
  ]);

const print = (found) => process.stdout.write(JSON.stringify(found) + "\n");

const echoed = await Promise.all(clients.map((client) => ask(client, "echo", "x".repeat(2000))));
// Each asks its neighbour by way of the server, which calls it wherever it is.
const called = await Promise.all(
  clients.map((client, number) => ask(client, "ask", clients[(number + 1) % clients.length].socket.id)),
);
print(
  clients.map(({ socket, errors, sids }, number) => ({
    connected: socket.connected,
    transport: socket.io.engine?.transport?.name,
    sids,
    errors,
    pid: echoed[number]?.[0],
    echoed: echoed[number]?.[1]?.length,
    called: called[number] === clients[(number + 1) % clients.length].socket.id,
  })),
);

for await (const _ of process.stdin) {
  // until its end
}
print(clients.map(({ sids, received, errors, socket }) => ({ sids, received, errors, connected: socket.connected })));
for (const { socket } of clients) socket.disconnect();
await new Promise((resolve) => setTimeout(resolve, 300));
process.exit(0);
