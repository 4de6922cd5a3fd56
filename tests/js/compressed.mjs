// Exchanges a long text and long bytes with a server that compresses and prints what was agreed and how much came:
//   node compressed.mjs URL   ->   {"agreed": "permessage-deflate", "same": true, "received": 1234}

import { isDeepStrictEqual } from "node:util";
import { io } from "socket.io-client";

const [url] = process.argv.slice(2);
const socket = io(url, { transports: ["websocket"], reconnection: false });
await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
const { ws } = socket.io.engine.transport;
const before = ws._socket.bytesRead;
const ask = (...args) => new Promise((resolve) => socket.timeout(4000).emit("echo", ...args, (_, answer) => resolve(answer)));

let same = true;
for (const sent of ["naïve ☃ ".repeat(20_000), Buffer.alloc(200_000, "bytes"), "short", Buffer.alloc(0)]) {
  same &&= isDeepStrictEqual(await ask(sent), sent);
}
process.stdout.write(JSON.stringify({ agreed: ws.extensions, same, received: ws._socket.bytesRead - before }));
process.exit(0);
