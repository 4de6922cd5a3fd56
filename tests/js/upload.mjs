// Uploads random bytes in pieces, each acknowledged, and prints what the client and the server made of them:
//   node upload.mjs PACKAGE URL TRANSPORT BYTES BYTES_OF_A_PIECE PIECES_IN_FLIGHT
//   ->   {"acknowledged": 100, "sent": "sha256...", "stored": "sha256...", "disconnects": []}
// The server is the application of tests/support/apps/honest.py.

import { createHash, randomBytes } from "node:crypto";

const [packageName, url, transport, ...numbers] = process.argv.slice(2);
const [size, pieceSize, inFlight] = numbers.map(Number);
const { io } = await import(packageName);

const file = randomBytes(size);
const socket = io(url, { transports: [transport], reconnection: false });
const disconnects = [];
socket.on("disconnect", (reason) => disconnects.push(reason));
await new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject));

let offset = 0;
let acknowledged = 0;

async function uploadInTurn() {
  while (offset < size && disconnects.length === 0) {
    const piece = file.subarray(offset, offset + pieceSize);
    offset += pieceSize;
    const end = offset - pieceSize + piece.length;
    if ((await socket.emitWithAck("piece", offset - pieceSize, piece)) === end) acknowledged += 1;
  }
}

await Promise.all(Array.from({ length: inFlight }, uploadInTurn));
const stored = await socket.emitWithAck("finish");
const sent = createHash("sha256").update(file).digest("hex");
process.stdout.write(JSON.stringify({ acknowledged, sent, stored, disconnects }));
socket.disconnect();
