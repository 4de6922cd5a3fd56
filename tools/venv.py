"""Make the project's virtual environment, or bring it up to date, and do nothing if it is.

Runs on a machine's own Python with nothing installed, so only the standard library is used. The Makefile
has checked its version before: an old Python could not even read this file.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
PIP = "pip>=25.1"  # the first pip that installs dependency groups
ALWAYS_INSTALLED = ("async_threading", "queue_host")
DEMO_PLUGIN = "presence"
#: What queue URLs begin with whose plugin ``make demo QUEUE=...`` installs, up to a "+"; every other one is Kombu's.
QUEUE_PLUGINS = {
    "": None,
    "memory": None,
    "host": "queue_host",
    "kafka": "queue_kafka",
    "redis": "queue_redis",
    "rediss": "queue_redis",
    "unix": "queue_redis",
    "valkey": "queue_redis",
    "valkeys": "queue_redis",
}

#: The extra of Kombu that brings the client library of a transport; what is not named here needs none, or has none.
KOMBU_EXTRAS = {
    "gcpubsub": "gcpubsub",
    "mongodb": "mongodb",
    "pgmq": "pgmq",
    "redis": "redis",
    "rediss": "redis",
    "sentinel": "redis",
    "sqs": "sqs",
}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with lock(args.venv):
            refresh(args.venv, args.purpose, requirements_for(args))
    except SetupError as error:
        return complain(str(error))
    except subprocess.CalledProcessError as error:
        return complain(
            f"this command failed with status {error.returncode}: {' '.join(map(str, error.cmd))}"
        )
    return 0


class SetupError(Exception):
    """The environment cannot be made; the text says what to do."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where (default: .venv)")
    parser.add_argument(
        "--for", dest="purpose", choices=("dev", "demo", "bench", "docs", "uwsgi"), default="dev"
    )
    parser.add_argument(
        "--versions", choices=("newest", "floor"), default="newest", help="dev: of dependencies"
    )
    parser.add_argument("--mode", default="", help="demo: the async mode to install")
    parser.add_argument("--queue", default="", help="demo: the URL of the message queue to install")
    return parser.parse_args(argv)


def refresh(venv: Path, purpose: str, requirements: Sequence[str]) -> None:
    """Bring ``venv`` to what ``purpose`` needs."""
    if interpreter_of(venv) != sys.version.split()[0]:
        create(venv)
    stamp = venv / f".installed-{purpose}"
    wanted = fingerprint(requirements)
    if is_current(stamp, wanted):
        return
    if purpose == "demo" and is_current(venv / ".installed-dev", fingerprint(dev())):
        requirements = [each for each in requirements if each.startswith("kombu[")]  # the rest is there
    if not requirements:
        return
    stamp.unlink(missing_ok=True)
    install(venv, requirements)
    stamp.write_text(wanted)


def is_current(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def requirements_for(args: argparse.Namespace) -> list[str]:
    """Return the arguments of ``pip install`` for the purpose in ``args``."""
    if args.purpose in ("bench", "docs", "uwsgi"):
        return ["--group", args.purpose]
    if args.purpose == "demo":
        return [*editable(demo_plugins(args.mode, args.queue)), *demo_clients(args.queue)]
    return dev("--group", "floor") if args.versions == "floor" else dev()


def dev(*more: str) -> list[str]:
    return ["--group", "dev", *more, *editable(plugin_names())]


def editable(plugins: Sequence[str]) -> list[str]:
    paths = [ROOT, *(ROOT / "plugins" / plugin for plugin in plugins)]
    return [argument for path in paths for argument in ("--editable", str(path))]


def plugin_names() -> list[str]:
    return sorted(path.parent.name for path in ROOT.glob("plugins/[!_]*/pyproject.toml"))


def demo_plugins(mode: str, queue: str) -> list[str]:
    """Return the plugins that the demo needs with one choice of parts, the always installed one first.

    :raises SetupError: when this repository has no plugin for ``mode``.
    """
    # gevent_uwsgi is gevent's plugin under another server.
    wanted = [DEMO_PLUGIN, *([f"async_{mode.partition('_')[0]}"] if mode else [])]
    queue_plugin = queue_plugin_of(queue)
    if queue_plugin is not None:
        wanted.append(queue_plugin)
    available = plugin_names()
    for plugin in wanted:
        if plugin not in available:
            modes = ", ".join(sorted(name[6:] for name in available if name.startswith("async_")))
            raise SetupError(f"MODE={mode} is not a mode of this repository\n  available: {modes}")
    return list(dict.fromkeys([*ALWAYS_INSTALLED, *wanted]))


def queue_plugin_of(queue: str) -> str | None:
    """Return the plugin for the URL of a message queue; ``None`` if the core has what it takes."""
    return QUEUE_PLUGINS.get(queue.partition(":")[0].partition("+")[0].lower(), "queue_kombu")


def demo_clients(queue: str) -> list[str]:
    """Return what else has to be installed for the URL of a message queue: the client library of Kombu's transport."""
    if queue_plugin_of(queue) != "queue_kombu":
        return []
    transport = queue.partition(":")[0].lower().removeprefix("kombu+").partition("+")[0]
    return [f"kombu[{KOMBU_EXTRAS[transport]}]"] if transport in KOMBU_EXTRAS else []


def fingerprint(requirements: Sequence[str]) -> str:
    """Return a text that changes whenever an installation would."""
    digest = hashlib.sha256(repr(requirements).encode())
    for path in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def interpreter_of(venv: Path) -> str | None:
    """Return the version of the Python that ``venv`` was made with, ``None`` when it is unusable."""
    if not (venv / "bin" / "python").exists():  # also false for a link to a Python that is gone
        return None
    for line in (venv / "pyvenv.cfg").read_text().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "version":
            return value.strip()
    return None


def create(venv: Path) -> None:
    """Make ``venv`` anew, installing Debian's missing part of Python when we may.

    :raises SetupError: when this Python cannot make environments and we cannot mend it.
    """
    say(f"making {venv.name} with Python {sys.version.split()[0]}")
    if try_create(venv):
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if os.geteuid() == 0 and shutil.which("apt-get") and apt_install(package) and try_create(venv):
        return
    raise SetupError(
        f"{sys.executable} cannot make a virtual environment: it comes without ensurepip\n"
        f"  on Debian and Ubuntu: apt-get install {package}\n"
        "  elsewhere: install your system's complete Python, or choose another one with PYTHON=..."
    )


def try_create(venv: Path) -> bool:
    shutil.rmtree(venv, ignore_errors=True)
    result = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True)
    # Debian's Python without ensurepip leaves half an environment behind.
    return result.returncode == 0 and (venv / "bin" / "pip").exists()


def apt_install(package: str) -> bool:
    say(f"installing {package}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
        result = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode:
            say(f"'{' '.join(command)}' failed:\n{(result.stdout + result.stderr)[-2000:]}")
            return False
    return True


def install(venv: Path, requirements: Sequence[str]) -> None:
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    say(f"installing into {venv.name}")
    subprocess.run([*pip, "install", "--quiet", "--upgrade", PIP], check=True, cwd=ROOT)
    subprocess.run([*pip, "install", "--quiet", *requirements], check=True, cwd=ROOT)


@contextlib.contextmanager
def lock(venv: Path) -> Iterator[None]:
    """Keep two makes that run at the same time from making one environment twice."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(venv.with_name(venv.name + ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    sys.stderr.write(f"==> {text}\n")


def complain(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
