"""Measure how long honest clients wait beside one that means harm: ``python benchmarks/attack.py``.

For each server and attacker: some clients send an event now and then and wait for its acknowledgement, first alone,
then while one more connection sends as fast as the server reads. Printed are both 99th percentiles and their ratio.
See ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from generator import Generator, frame
from process import pin_generator, running
from run import commands

from flask_socketio_core.testing.ports import free_port

ATTACKERS = {
    "pongs": [b"3"],
    "acks": [b'431["never asked"]'],
    "connects": [b"41", b"40"],
    "strays": [b"40/nowhere,"],
    "events": [b'42["echo"]'],
    "answered": [b'421["echo",1]'],
    "hanging": [b'42["hang"]'],
}
"""What each sends again and again; ``pings`` sends control frames."""

PING_FRAME = b"\x89\x80\0\0\0\0"
HONEST = 20
EACH_S = 0.1
"""How often each honest client sends."""


def flood(port: int, kind: str, seconds: float) -> None:
    """Send as fast as the server reads, and read what it answers."""
    load = Generator(port)
    load.connect(1)
    sock = next(iter(load.clients.values())).sock
    some = PING_FRAME if kind == "pings" else b"".join(map(frame, ATTACKERS[kind]))
    data = some * (262_144 // len(some))
    rest = memoryview(data)
    sent = 0
    ended = ""
    sock.setblocking(True)
    sock.settimeout(0.01)
    print("ready", flush=True)
    sys.stdin.readline()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and not ended:
        try:
            count = sock.send(rest)
            sent += count
            rest = rest[count:] or memoryview(data)
        except TimeoutError:
            pass
        except OSError as error:
            ended = repr(error)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, OSError):
            while sock.recv(1_048_576):
                pass
        sock.settimeout(0.01)
    print(f"{sent // (len(some) // max(len(ATTACKERS.get(kind, [0])), 1))} packets sent {ended}")


@contextlib.contextmanager
def flooding(port: int, kind: str, count: int, seconds: float) -> Iterator[None]:
    """Have so many connections, each in a process of its own, flood a server; what they need is there before."""
    words = [sys.executable, __file__, "--flood", kind, "--port", str(port), "--seconds", str(seconds)]
    processes = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    try:
        yield
    finally:
        for process in processes:
            output, _ = process.communicate(timeout=60)
            print(f"    {output.strip()}", file=sys.stderr)


def percentile(latencies_s: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    ranked = sorted(latencies_s)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=["ours-threading", "ours-gevent", "ours-eventlet"])
    parser.add_argument("--attackers", nargs="*", default=[*ATTACKERS, "pings"])
    parser.add_argument("--count", type=int, default=1, help="attacking connections")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--flood")
    parser.add_argument("--port", type=int)
    args = parser.parse_args()
    pin_generator()
    if args.flood:
        flood(args.port, args.flood, args.seconds)
        return
    log = Path(tempfile.mkdtemp(prefix="attack-")) / "servers.log"
    for name in args.only:
        command = commands()[name]
        for kind in args.attackers:
            with running(command.words, free_port(), log=log, env=command.env) as server:
                load = Generator(server.port)
                load.connect(HONEST)
                load.paced(1.0, EACH_S)
                alone = load.paced(args.seconds, EACH_S).latencies_s
                with flooding(server.port, kind, args.count, args.seconds + 1):
                    before = server.usage().cpu_s
                    beside = load.paced(args.seconds, EACH_S).latencies_s
                    cpu = (server.usage().cpu_s - before) / args.seconds
                load.close()
            one, two = percentile(alone, 0.99), percentile(beside, 0.99)
            print(
                f"| {name} | {kind} | {one:.2f} | {two:.2f} | {two / one:.1f}x | {max(beside) * 1e3:.0f} | {cpu:.2f} |",
                flush=True,
            )
    print(log, file=sys.stderr)


if __name__ == "__main__":
    main()
