// What the reference server does for its clients, with one process and with several.

export function serve(io) {
  let stop;
  io.on("connection", (socket) => {
    socket.on("echo", (data, ack) => ack(data));
    socket.on("whoami", (ack) => ack([socket.id, process.pid]));
    socket.on("tell", (sid, ack) => {
      io.to(sid).emit("tick", { text: "the quick brown fox jumps" });
      ack(sid);
    });
    socket.on("enter", (room, ack) => {
      socket.join(`room ${room}`);
      ack(room);
    });
    // Emit 100 times a second, to one room after the other, and 4 times a second to all; until it is to stop.
    socket.on("flow", (rooms) => {
      const started = performance.now();
      const text = "the quick brown fox jumps";
      let count = 0;
      const flowing = setInterval(() => {
        while (count < (performance.now() - started) / 10) {
          io.to(`room ${count % rooms}`).emit("tick", count % rooms, Math.floor(count / rooms), text);
          if (count % 25 === 0) io.emit("tick", -1, count / 25, text);
          count++;
        }
      }, 10);
      stop = () => {
        clearInterval(flowing);
        io.emit("end", count);
      };
    });
    socket.on("stop", () => stop());
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
}
