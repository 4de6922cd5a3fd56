// The reference server under the same load: node node.mjs PORT
import { createServer } from "node:http";
import { Server } from "socket.io";
import { serve } from "./node_handlers.mjs";

const http = createServer((request, response) => {
  if (request.url === "/empty") response.end();
});
const pingInterval = 1000 * Number(process.env.APP_PING_S ?? 25);
const recovery = 1000 * Number(process.env.APP_RECOVERY ?? 0);
const io = new Server(http, {
  transports: ["polling", "websocket"],
  pingInterval,
  ...(recovery ? { connectionStateRecovery: { maxDisconnectionDuration: recovery } } : {}),
});

serve(io);

http.listen(Number(process.argv[2]), "127.0.0.1");
