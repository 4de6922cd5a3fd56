"""Find what the tests use besides Python: brokers, proxies, Java, Node.js, a browser, a C compiler.

As root on a Debian-like system whatever is missing is installed, without starting a service. Elsewhere the
commands are printed, and the tests that need a part skip with the same words. ``REQUIRE_BROKERS=1`` makes a part
that is still missing an error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")
#: Folders with a package.json and a lock; each gets its node_modules.
TEST_PROJECTS = ("tests/js", "examples/chat")
#: Fetches the released build of the Admin UI, unless it is there.
ADMIN_UI = "plugins/admin_ui/flask_socketio_admin_ui/build.py"
#: Debian keeps servers out of a user's search path.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Part:
    """A program and the Debian packages that bring it.

    :param programs: any one of these is enough.
    :param services: what Debian would start at every boot.
    :param needed: whether ``REQUIRE_BROKERS=1`` insists on it.
    """

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]
    services: tuple[str, ...] = ()
    needed: bool = True

    @property
    def present(self) -> bool:
        return any(shutil.which(program, path=SEARCH_PATH) for program in self.programs)


class Headers(Part):
    """Python's headers, which a C compiler needs as well."""

    @property
    def present(self) -> bool:
        return Path(sysconfig.get_path("include"), "Python.h").exists()


PARTS = (
    Part("Redis", ("redis-server",), ("redis-server",), services=("redis-server",)),
    Part("RabbitMQ", ("rabbitmq-server",), ("rabbitmq-server",), services=("rabbitmq-server", "epmd.socket")),
    Part("Java", ("javac",), ("default-jdk-headless",)),
    Part("Maven", ("mvn",), ("maven",)),
    Part("Node.js", ("node",), ("nodejs",)),
    Part("npm", ("npm",), ("npm",)),
    Part("nginx", ("nginx",), ("nginx-light",), services=("nginx",)),
    Part("HAProxy", ("haproxy",), ("haproxy",), services=("haproxy",)),
    Part("a browser", ("chromium", "chromium-browser", "google-chrome"), ("chromium",)),
    # Both only to compile uWSGI.
    Part("a C compiler", ("cc", "gcc", "clang"), ("gcc", "libc6-dev"), needed=False),
    Headers(
        "Python's headers", (), (f"python{sys.version_info[0]}.{sys.version_info[1]}-dev",), needed=False
    ),
)


def main(projects: Sequence[str]) -> int:
    """Bring the machine up to what the tests need.

    :param projects: folders with a package.json, instead of those of the tests.
    """
    missing = absent()
    if missing and may_install():
        install(missing)
        missing = absent()
    unfetched = [
        f"cd {project} && npm ci"
        for project in projects or TEST_PROJECTS
        if not fetch_node_modules(ROOT / project)
    ]
    if not projects and not run([sys.executable, ADMIN_UI]):
        unfetched.append(f"python {ADMIN_UI}")
    for part in missing:
        say(f"{part.name} is missing: apt-get install {' '.join(part.packages)}")
    for command in unfetched:
        say(f"what this fetches with npm is missing: {command}")
    strict = os.environ.get("REQUIRE_BROKERS") == "1"
    return int(strict and (any(part.needed for part in missing) or bool(unfetched)))


def absent() -> list[Part]:
    return [part for part in PARTS if not part.present]


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(parts: Sequence[Part]) -> None:
    """Install Debian's packages for ``parts``; one that cannot be had does not stop the others."""
    say(f"installing {', '.join(part.name for part in parts)}")
    run(["apt-get", "update", "-q"])
    with services_kept_down():
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
        if not run([*command, *(package for part in parts for package in part.packages)]):
            for part in parts:
                run([*command, *part.packages])
    if Path("/run/systemd/system").is_dir():
        for service in (service for part in parts for service in part.services):
            run(["systemctl", "disable", "--now", service])


@contextlib.contextmanager
def services_kept_down() -> Iterator[None]:
    """Keep Debian's packages from starting the servers that they bring; the tests start their own."""
    if SERVICE_POLICY.exists():
        yield
        return
    SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
    SERVICE_POLICY.chmod(0o755)
    try:
        yield
    finally:
        SERVICE_POLICY.unlink(missing_ok=True)


def fetch_node_modules(project: Path) -> bool:
    """Bring ``project``'s node_modules to what its lock says, and return whether they are there."""
    lock = project / "package-lock.json"
    installed = project / "node_modules" / ".package-lock.json"
    if not lock.exists() or (installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime):
        return True
    if shutil.which("npm") is None:
        return False
    say(f"fetching the JavaScript packages of {project.relative_to(ROOT)}")
    done = run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=project)
    if done:
        installed.touch()
    return done


def run(command: Sequence[str], *, cwd: Path = ROOT) -> bool:
    """Run one command without a terminal, its output shown only when it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if result.returncode:
        say(f"'{' '.join(command)}' failed:\n{(result.stdout + result.stderr)[-2000:]}")
    return result.returncode == 0


def say(text: str) -> None:
    sys.stderr.write(f"==> {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
