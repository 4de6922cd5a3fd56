"""Measure servers side by side: ``python benchmarks/run.py`` (``make bench``), see ``benchmarks/README.md``.

Every server is measured in turn, again and again, so that a noisy moment of the machine hits all of them; the table
shows medians, and ratios to the reference server in Node.js.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generator import Generator
from pollers import Pollers
from process import PARTS, Server, pin_generator, running

from flask_socketio_core.testing.ports import free_port

HERE = Path(__file__).parent
SERVERS_DIR = HERE / "servers"
NODE = "node"
Figures = dict[str, float]
STALLED_TEXT = 1_000
"""Characters in an event of the case ``stalled``."""
STALLED_TIMEOUT_S = 60.0
WARM_ROUNDS, STANDS = 15, 0.03
"""How often a case is repeated before it is measured, at most, and by which share its cost may still change."""


@dataclass(frozen=True)
class Command:
    """How a server is started.

    :param words: ``{port}`` is replaced.
    :param env: environment; ``{port}`` is replaced as well.
    """

    words: list[str]
    env: dict[str, str] = field(default_factory=dict)


def flask_command(
    library: str, mode: str, *, variant: str = "", gunicorn: str = "", logging: bool = False
) -> Command:
    """Return how the Flask application is started.

    :param variant: a WebSocket provider, or ``blocking``.
    :param logging: switch ``logger`` and ``engineio_logger`` on.
    :param gunicorn: options of gunicorn; without, ``SocketIO.run()`` serves.
    """
    env = {"APP_LIBRARY": library, "APP_MODE": mode, "APP_PORT": "{port}", "APP_VARIANT": variant}
    if logging:
        env["APP_LOGGING"] = "1"
    if not gunicorn:
        return Command([sys.executable, str(SERVERS_DIR / "flask_app.py")], env)
    words = [sys.executable, "-m", "gunicorn", "--chdir", str(SERVERS_DIR), "-b", "127.0.0.1:{port}"]
    return Command([*words, *gunicorn.split(), "flask_app:app"], env)


def bare_command(server: str, *, gunicorn: str = "") -> Command:
    """Return how an application that only answers is started.

    :param server: ``werkzeug`` or ``gevent``, without gunicorn.
    :param gunicorn: options of gunicorn.
    """
    if not gunicorn:
        words = [sys.executable, str(SERVERS_DIR / "bare_app.py")]
        return Command(words, {"APP_SERVER": server, "APP_PORT": "{port}"})
    words = [sys.executable, "-m", "gunicorn", "--chdir", str(SERVERS_DIR), "-b", "127.0.0.1:{port}"]
    return Command([*words, *gunicorn.split(), "bare_app:app"])


def commands() -> dict[str, Command]:
    """Return the servers that can run here, by name."""
    ours, upstream = "flask_socketio_core", "flask_socketio"
    found = {
        "floor": Command([sys.executable, str(SERVERS_DIR / "floor.py"), "{port}"]),
        "bare-werkzeug": bare_command("werkzeug"),
        "bare-gevent": bare_command("gevent"),
        "bare-gunicorn-four-threads": bare_command("", gunicorn="-k gthread --threads 4"),
        "ours-threading": flask_command(ours, "threading"),
        "ours-gevent": flask_command(ours, "gevent", variant="gevent-websocket"),
        "ours-gevent-builtin": flask_command(ours, "gevent", variant="gevent-builtin"),
        "ours-eventlet": flask_command(ours, "eventlet"),
        "ours-gunicorn-gthread": flask_command(ours, "threading", gunicorn="-k gthread --threads 100"),
        "ours-gunicorn-four-threads": flask_command(ours, "threading", gunicorn="-k gthread --threads 4"),
        "ours-gunicorn-gevent": flask_command(ours, "gevent", gunicorn="-k gevent"),
        "ours-threading-blocking": flask_command(ours, "threading", variant="blocking"),
        "ours-gevent-blocking": flask_command(ours, "gevent", variant="blocking"),
        "ours-threading-logging": flask_command(ours, "threading", logging=True),
        "ours-gevent-logging": flask_command(ours, "gevent", variant="gevent-builtin", logging=True),
        "flask-socketio-threading": flask_command(upstream, "threading"),
        "flask-socketio-gevent": flask_command(upstream, "gevent"),
        "flask-socketio-eventlet": flask_command(upstream, "eventlet"),
        "flask-socketio-threading-logging": flask_command(upstream, "threading", logging=True),
    }
    if shutil.which("node") and (SERVERS_DIR / "node_modules" / "socket.io").exists():
        found[NODE] = Command(["node", str(SERVERS_DIR / "node.mjs"), "{port}"])
    if importlib.util.find_spec("uvicorn"):
        found["python-socketio-asgi"] = Command([sys.executable, str(SERVERS_DIR / "asgi_app.py"), "{port}"])
    return found


def before(commands: Mapping[str, Command], checkout: Path) -> dict[str, Command]:
    """Return our servers as another checkout has them, with the environment in its ``.venv``."""
    here = str(HERE.parent)
    known = [
        part
        for part in PARTS.split(",")
        if part == "queue-memory" or (checkout / "plugins" / part.replace("-", "_")).is_dir()
    ]
    return {
        f"{name}-before": replace(
            command,
            words=[word.replace(here, str(checkout.resolve())) for word in command.words],
            env={**command.env, "SOCKETIO_LOAD_PLUGINS": ",".join(known)},
        )
        for name, command in commands.items()
        if name.startswith("ours-")
    }


def warm_up(case: Callable[[Server, Generator, float], Figures], server: Server, load: Generator) -> None:
    """Repeat a case until its cost stands: the reference server compiles for its first 10,000 events."""
    last_us = 0.0
    for _ in range(WARM_ROUNDS):
        cost_us = next(iter(case(server, load, 0.2).values()), 0.0)
        if abs(cost_us - last_us) <= STANDS * cost_us:
            return
        last_us = cost_us


def measure_broadcast(server: Server, load: Generator, scale: float) -> Figures:
    """CPU of the server per delivered broadcast, microseconds."""
    count = max(int(scale * 100_000 / len(load.clients)), 20)
    begin = server.usage()
    timings = load.broadcast(count)
    used = server.usage().cpu_s - begin.cpu_s
    deliveries = count * len(load.clients)
    return {"broadcast_us": used / deliveries * 1e6, "broadcast_per_s": deliveries / timings.wall_s}


def measure_event(server: Server, load: Generator, scale: float) -> Figures:
    """CPU of the server per acknowledged event, microseconds; latency with 50 events in flight, milliseconds."""
    count = max(int(scale * 20_000), 500)
    begin = server.usage()
    timings = load.events(count)
    used = server.usage().cpu_s - begin.cpu_s
    ranked = sorted(timings.latencies_s)
    return {
        "event_us": used / count * 1e6,
        "event_per_s": count / timings.wall_s,
        "event_p50_ms": ranked[len(ranked) // 2] * 1e3,
        "event_p99_ms": ranked[len(ranked) * 99 // 100] * 1e3,
    }


def measure_stalled(server: Server, load: Generator, scale: float) -> Figures:
    """A broadcast of longer events while as many clients again do not read.

    Returned are the cost per event and reading client, without and with the others, and the memory for each of those:
    300 kB wait for it. A server that never finishes has no figures.
    """
    reading, count = len(load.clients), 300
    without = server.usage()
    load.broadcast(count, size=STALLED_TEXT)
    used_s = server.usage().cpu_s - without.cpu_s
    load.connect_stalled(reading)
    before = server.usage()
    try:
        timings = load.broadcast(count, size=STALLED_TEXT, timeout_s=STALLED_TIMEOUT_S)
    except TimeoutError:
        print("  gave up: the clients that do not read have stopped the others", file=sys.stderr)
        return {}
    after = server.usage()
    return {
        "alone_us": used_s / (count * reading) * 1e6,
        "stalled_us": (after.cpu_s - before.cpu_s) / (count * reading) * 1e6,
        "stalled_kb": (after.rss_kb - before.rss_kb) / load.stalled,
        "stalled_per_s": count * reading / timings.wall_s,
    }


def measure_poll(server: Server, count: int, scale: float) -> Figures:
    """Clients that stay on long polling; alone, so that each event is for them.

    Returned are the CPU of the server per cycle, which is an answer and the poll that follows it, and what a poll that
    waits takes besides its session: memory, threads. Then the same with connections that they share.
    """
    figures = _measure_pollers(Pollers(server.port), server, count, scale)
    proxied = _measure_pollers(Pollers(server.port, proxied=True), server, count, scale)
    return figures | {f"proxied_{name}": proxied[f"poll_{name}"] for name in ("us", "new_connections")}


def _measure_pollers(pollers: Pollers, server: Server, count: int, scale: float) -> Figures:
    try:
        pollers.join(count)
        pollers.pause(1)  # the server closes what it no longer needs
        before = server.usage()
        pollers.poll_all()
        pollers.pause(max(count / 1000, 0.5))
        waiting = server.usage()
        rounds = max(int(scale * 10_000 / count), 3)
        pollers.rounds(3)
        begin = server.usage()
        started = time.perf_counter()
        reconnects = pollers.reconnects
        pollers.rounds(rounds)
        wall_s = time.perf_counter() - started
        used = server.usage().cpu_s - begin.cpu_s
    finally:
        pollers.close()
    cycles = rounds * count
    return {
        "poll_us": used / cycles * 1e6,
        "poll_per_s": cycles / wall_s,
        "poll_kb": (waiting.rss_kb - before.rss_kb) / count,
        "poll_threads": float(waiting.threads),
        "poll_new_connections": (pollers.reconnects - reconnects) / cycles,
        "poll_repeated": pollers.repeated / cycles,
    }


def measure_bare(server: Server, count: int, scale: float) -> Figures:
    """CPU per request of an application that only answers, on connections that are kept, and with one for each.

    It is what a poll costs that its web server serves, before anything of ours.
    """
    figures: Figures = {}
    for name, keeps in (("bare_kept_us", True), ("bare_new_us", False)):
        pollers = Pollers(server.port)
        try:
            pollers.ask("/", count, keeps=keeps)
            pollers.poll_all()
            pollers.until_answered(max(int(scale * 1_000), count))
            wanted = max(int(scale * 10_000), count)
            begin, reconnects = server.usage(), pollers.reconnects
            pollers.until_answered(wanted)
            figures[name] = (server.usage().cpu_s - begin.cpu_s) / wanted * 1e6
            figures[name.replace("_us", "_new_connections")] = (pollers.reconnects - reconnects) / wanted
        finally:
            pollers.close()
    return figures


CASES: dict[str, Callable[[Server, Generator, float], Figures]] = {
    "broadcast": measure_broadcast,
    "event": measure_event,
    "stalled": measure_stalled,
}


def measure(
    command: Command,
    clients: int,
    cases: list[str],
    scale: float,
    log: Path,
    *,
    floor: bool,
    is_bare: bool,
) -> Figures:
    """Run one server once through the cases."""
    # Who polls is not pinged in the time that it takes to bring all of them together.
    env = {**command.env, "APP_PING_S": "300"} if "poll" in cases else command.env
    with running(command.words, free_port(), log=log, env=env) as server:
        load = Generator(server.port)
        figures: Figures = {}
        try:
            if is_bare:
                return measure_bare(server, clients, scale)
            if not floor:
                load.get(50)
                begin = server.usage()
                load.get(300)
                figures["get_us"] = (server.usage().cpu_s - begin.cpu_s) / 300 * 1e6
            if "poll" in cases:
                figures |= measure_poll(server, clients, scale)
                return figures
            idle = server.usage()
            load.connect(clients)
            full = server.usage()
            figures["connect_us"] = (full.cpu_s - idle.cpu_s) / clients * 1e6
            figures["kb_per_client"] = (full.rss_kb - idle.rss_kb) / clients
            figures["threads_per_client"] = (full.threads - idle.threads) / clients
            for case in cases:
                if floor and case == "stalled":
                    continue
                if case != "stalled":
                    warm_up(CASES[case], server, load)
                figures |= CASES[case](server, load, scale)
        finally:
            load.close()
    return figures


def table(results: dict[str, dict[str, float]]) -> str:
    """Lay the medians out, with the ratio to Node's behind those that have one."""
    columns = sorted({column for figures in results.values() for column in figures})
    reference = results.get(NODE, {})
    lines = ["| server | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figures in results.items():
        cells = []
        for column in columns:
            value = figures.get(column)
            if value is None:
                cells.append("-")
            elif reference.get(column) and name != NODE:
                cells.append(f"{value:.4g} ({value / reference[column]:.2f}x)")
            else:
                cells.append(f"{value:.4g}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1.0: 100,000 deliveries and 20,000 events a run"
    )
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="measure ours of another checkout, too"
    )
    parser.add_argument("--cases", nargs="*", default=["broadcast", "event"], choices=[*CASES, "poll"])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    pin_generator()
    chosen = {
        name: command
        for name, command in commands().items()
        if (not args.only or name in args.only) and ("poll" in args.cases or not name.startswith("bare-"))
    }
    if args.before is not None:
        chosen |= before(chosen, args.before)
    runs: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in chosen}
    log = Path(tempfile.mkdtemp(prefix="bench-")) / "servers.log"
    for round_ in range(args.repeat):
        for name, command in chosen.items():
            print(f"round {round_ + 1} of {args.repeat}: {name}", file=sys.stderr, flush=True)
            kinds = {"floor": name == "floor", "is_bare": name.startswith("bare-")}
            figures = measure(command, args.clients, args.cases, args.scale, log, **kinds)
            for column, value in figures.items():
                runs[name][column].append(value)
    medians = medians_of(runs)
    print(table(medians))
    if args.json is not None:
        write_json(args.json, clients=args.clients, repeat=args.repeat, medians=medians, runs=runs)


def medians_of(runs: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Figures]:
    """Return the median of each figure of all rounds."""
    return {
        name: {column: statistics.median(values) for column, values in columns.items()}
        for name, columns in runs.items()
    }


def write_json(path: Path, **facts: Any) -> None:
    """Write what was measured, and on which machine."""
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpu": _cpu_model()}
    path.write_text(json.dumps({"machine": machine, **facts}, indent=1) + "\n")


def _cpu_model() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    main()
