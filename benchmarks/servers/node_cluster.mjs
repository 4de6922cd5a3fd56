// The reference server with several workers: node node_cluster.mjs PORT WORKERS
import cluster from "node:cluster";
import { createServer } from "node:http";
import { createAdapter, setupPrimary } from "@socket.io/cluster-adapter";
import { setupMaster, setupWorker } from "@socket.io/sticky";
import { Server } from "socket.io";

const [port, workers] = process.argv.slice(2).map(Number);

if (cluster.isPrimary) {
  const http = createServer();
  setupMaster(http, { loadBalancingMethod: "least-connection" });
  setupPrimary();
  cluster.setupPrimary({ serialization: "advanced" });
  let ready = 0;
  cluster.on("message", (worker, message) => {
    if (message === "ready" && ++ready === workers) http.listen(port, "127.0.0.1");
  });
  for (let number = 0; number < workers; number++) cluster.fork();
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill();
    process.exit();
  });
} else {
  const io = new Server(createServer());
  io.adapter(createAdapter());
  setupWorker(io);
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
  process.send("ready");
}
