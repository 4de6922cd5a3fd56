// The reference server with several workers: node node_cluster.mjs PORT WORKERS
import cluster from "node:cluster";
import { createServer } from "node:http";
import { createAdapter, setupPrimary } from "@socket.io/cluster-adapter";
import { setupMaster, setupWorker } from "@socket.io/sticky";
import { Server } from "socket.io";
import { serve } from "./node_handlers.mjs";

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
  serve(io);
  process.send("ready");
}
