// Keeps a client on each transport, with the client's own decision to reconnect, and tells what happens to it:
//   node returning.mjs PACKAGE URL   ->   lines "polling connect", "websocket disconnect transport close", ...
// It ends with its standard input.

const [packageName, url] = process.argv.slice(2);
const { default: io } = await import(packageName);

for (const transport of ["polling", "websocket"]) {
  const socket = io(url, { forceNew: true, transports: [transport], reconnectionDelay: 200, reconnectionDelayMax: 400 });
  const say = (...words) => process.stdout.write([transport, ...words].join(" ") + "\n");
  socket.on("connect", () => say("connect"));
  socket.on("disconnect", (reason) => say("disconnect", reason));
}
process.stdin.resume().on("end", () => process.exit(0));
