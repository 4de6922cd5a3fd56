// Sends one event with the client's own retries, and prints what it was acknowledged:
//   node retrying.mjs PACKAGE URL TRANSPORT USER EVENT ID   ->   [null, {...}, [0, 255]]
// The server is the application of tests/support/apps/retried.py. USER is "-" for nobody.

const [packageName, url, transport, user, event, id] = process.argv.slice(2);
const { io } = await import(packageName);

const socket = io(url, {
  forceNew: true,
  transports: [transport],
  retries: 20,
  ackTimeout: 1000,
  reconnectionDelay: 100,
  reconnectionDelayMax: 200,
  auth: user === "-" ? {} : { user },
});
const plain = (value) => (Buffer.isBuffer(value) || value instanceof ArrayBuffer ? [...Buffer.from(value)] : value);

setTimeout(() => process.exit(1), 40000);
socket.emit(event, { id }, (error, ...answer) => {
  process.stdout.write(JSON.stringify([error && error.message, ...answer.map(plain)]) + "\n", () => process.exit(0));
});
