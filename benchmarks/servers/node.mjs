// The reference server under the same load: node node.mjs PORT
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer((request, response) => {
  if (request.url === "/empty") response.end();
});
const pingInterval = 1000 * Number(process.env.APP_PING_S ?? 25);
const io = new Server(http, { transports: ["polling", "websocket"], pingInterval });

io.on("connection", (socket) => {
  socket.on("echo", (data, ack) => ack(data));
  socket.on("whoami", (ack) => ack([socket.id, process.pid]));
  socket.on("tell", (sid, ack) => {
    io.to(sid).emit("tick", { text: "the quick brown fox jumps" });
    ack(sid);
  });
  socket.on("blast", (count, size) => {
    const text = "the quick brown fox jumps".padEnd(size);
    let seq = 0;
    const next = () => {
      if (seq >= count) return;
      io.emit("tick", { seq: seq++, text });
      setImmediate(next);
    };
    next();
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
