// Tries to connect with a client of the 2.x or 1.x line and prints what it was told:
//   node old_client.mjs PACKAGE URL TRANSPORT   ->   {"event": "connect_error", "message": ..., "status": ...}

const [packageName, url, transport] = process.argv.slice(2);
const { default: io } = await import(packageName);
const socket = io(url, { forceNew: true, reconnection: false, transports: [transport] });

function report(event, error) {
  const status = Number.isInteger(error?.description) ? error.description : null;
  process.stdout.write(JSON.stringify({ event, message: String(error?.message ?? error), status }));
  process.exit(0);
}

socket.on("connect", () => report("connect"));
socket.on("connect_error", (error) => report("connect_error", error));
socket.on("error", (error) => report("error", error));
setTimeout(() => report("nothing"), 4000);
