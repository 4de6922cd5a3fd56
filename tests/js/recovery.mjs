// Clients that lose their connection and come back:  node recovery.mjs PACKAGE URL COUNT [TRANSPORT...]
// For each line of its input it prints one line of JSON, what each client has seen so far; for "has NUMBER" only which of
// them have had that, since many numbers take long to print. "close" has each of them cut its own connection first,
// "again" disconnect and connect itself, a JSON array emit an event. It ends with its standard input. COUNT may also be
// names of namespaces, with commas: of clients that share one connection. PARSER in the environment is a package whose
// packets it speaks. The server is the application of tests/support/apps/recovery.py.

import { createInterface } from "node:readline";

const [packageName, url, count, ...transports] = process.argv.slice(2);
const { io, Manager } = await import(packageName);
const options = {
  reconnectionDelay: 20,
  reconnectionDelayMax: 100,
  timeout: 5000,
  ...(process.env.PARSER ? { parser: (await import(process.env.PARSER)).default } : {}),
  ...(transports.length ? { transports } : {}),
};
const shared = count.startsWith("/") ? new Manager(url, options) : null;
const namespaces = shared ? count.split(",") : Array(Number(count)).fill("/");

const clients = namespaces.map((namespace) => {
  const socket = shared ? shared.socket(namespace) : io(url, { ...options, forceNew: true });
  const client = { socket, sids: [], recovered: [], received: [], early: [], others: [], errors: [] };
  socket.on("connect", () => {
    client.sids.push(socket.id);
    client.recovered.push(socket.recovered);
    client.early.push(client.received.length); // what it had before its connect event
  });
  socket.on("connect_error", (error) => client.errors.push(String(error.message)));
  socket.on("number", (number) => client.received.push(number));
  socket.on("question", (answer) => answer(socket.id));
  socket.onAny((name, ...args) => name === "number" || client.others.push([name, ...args.filter((arg) => typeof arg !== "function")]));
  return client;
});

for await (const line of createInterface({ input: process.stdin })) {
  if (line.startsWith("has ")) {
    const number = Number(line.slice(4));
    process.stdout.write(JSON.stringify(clients.map(({ received }) => received.includes(number))) + "\n");
    continue;
  }
  for (const { socket } of clients) {
    if (line === "close") socket.io.engine?.close();
    if (line === "again") socket.disconnect().connect();
    if (line.startsWith("[")) socket.emit(...JSON.parse(line));
  }
  const found = clients.map(({ socket, ...seen }) => ({
    ...seen,
    connected: socket.connected,
    transport: socket.io.engine?.transport?.name,
    offset: socket._lastOffset,
    pid: socket._pid,
  }));
  process.stdout.write(JSON.stringify(found) + "\n");
}
process.exit(0);
