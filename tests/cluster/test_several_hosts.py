"""Two hosts behind the load balancers of the deployment page: WebSockets go anywhere, long polling to one host."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flask_socketio_core.testing.ports import free_port
from support import nginx, web_proxies
from support.clients import python_client
from support.documents import page
from support.servers import HOST, wait_until
from support.wire.engine import target
from support.wire.http import request
from support.workers import APP, Supervised, supervised

pytestmark = pytest.mark.timeout(90)
SOON_S = 5.0
HOSTS = """
@socketio.on("tell")
def tell(text):
    socketio.emit("told", text)
"""
ADDRESSES = ("10.0.0.1:5000", "10.0.0.2:5000")


@pytest.fixture(scope="module")
def hosts(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Supervised]]:
    """Two servers of two workers each, which know nothing of each other but the message queue."""
    options = f"message_queue={redis_url!r}, channel='hosts-{uuid.uuid4().hex[:12]}'"
    app = APP.replace("SocketIO(app)", f"SocketIO(app, {options})") + HOSTS
    start = [
        supervised(tmp_path_factory.mktemp("host"), "--async-mode", "threading", workers=2, app=app)
        for _ in ADDRESSES
    ]
    with start[0] as one, start[1] as two:
        yield [one.wait_ready(), two.wait_ready()]


def by_nginx(folder: Path, port: int, text: Callable[[str], str]) -> list[str]:
    site = text("hosts.conf")
    assert "listen 8080;" in site
    return nginx.command(folder, site.replace("listen 8080;", f"listen {HOST}:{port};"))


def by_haproxy(folder: Path, port: int, text: Callable[[str], str]) -> list[str]:
    config = folder / "haproxy.cfg"
    written = text("haproxy.cfg")
    assert "bind :8080" in written
    config.write_text(written.replace("bind :8080", f"bind {HOST}:{port}"))
    return ["haproxy", "-db", "-f", str(config)]


@pytest.fixture(scope="module", params=[by_nginx, by_haproxy])
def balancer(
    request: pytest.FixtureRequest, hosts: list[Supervised], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Run a load balancer by the page's configuration, and give its port."""

    def text(name: str) -> str:
        found = page("docs/deployment.md").block(name)
        for address, host in zip(ADDRESSES, hosts, strict=True):
            assert address in found
            found = found.replace(address, f"{HOST}:{host.port}")
        return found

    port = free_port()
    command = request.param(tmp_path_factory.mktemp("balancer"), port, text)
    with web_proxies.running(command, lambda: web_proxies.answers(port, "/")):
        yield port


class Client:
    """A client of python-socketio, and what it was told."""

    def __init__(self, port: int, transports: list[str] | None) -> None:
        self.told: list[str] = []
        self._client = python_client()
        self._client.on("told", self.told.append)
        self._client.connect(f"http://{HOST}:{port}", transports=transports, wait_timeout=SOON_S)
        self.pid: int = self._client.call("pid", timeout=SOON_S)
        self.transport = self._client.transport()

    def tell(self, text: str) -> None:
        self._client.emit("tell", text)

    def close(self) -> None:
        self._client.shutdown()


@pytest.fixture
def connect(balancer: int) -> Iterator[Callable[..., Client]]:
    """Return a function that connects a client."""
    clients: list[Client] = []

    def connect(*transports: str) -> Client:
        clients.append(Client(balancer, list(transports) or None))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def hosts_of(clients: list[Client], hosts: list[Supervised]) -> set[int]:
    """Return the numbers of the hosts that serve these clients."""
    workers = [host.serving() for host in hosts]
    return {next(number for number, pids in enumerate(workers) if client.pid in pids) for client in clients}


def test_websockets_are_spread_over_the_hosts(
    connect: Callable[..., Client], hosts: list[Supervised]
) -> None:
    clients = [connect("websocket") for _ in range(6)]
    assert hosts_of(clients, hosts) == {0, 1}


@pytest.mark.parametrize("transports", [["polling"], []], ids=["polling", "upgrade"])
def test_long_polling_stays_with_its_host(
    connect: Callable[..., Client], hosts: list[Supervised], transports: list[str]
) -> None:
    clients = [connect(*transports) for _ in range(6)]
    assert {client.transport for client in clients} == {"polling" if transports else "websocket"}
    assert len(hosts_of(clients, hosts)) == 1  # all of them come from one address


def test_all_clients_are_told_once_whatever_their_host(
    connect: Callable[..., Client], hosts: list[Supervised]
) -> None:
    clients = [connect(*transports) for transports in (["websocket"], ["polling"], []) for _ in range(3)]
    assert hosts_of(clients, hosts) == {0, 1}
    for number, client in enumerate(clients):
        client.tell(str(number))
    texts = sorted(map(str, range(len(clients))))
    assert wait_until(lambda: all(len(client.told) >= len(texts) for client in clients), timeout_s=SOON_S)
    assert all(sorted(client.told) == texts for client in clients)


def test_another_host_does_not_know_a_session(hosts: list[Supervised]) -> None:
    one, two = hosts
    opened = request(one.port, "GET", target(transport="polling")).text
    sid = opened.partition('"sid":"')[2].partition('"')[0]
    refused = request(two.port, "POST", target(transport="polling", sid=sid), body="40")
    assert (refused.status, "Session ID unknown" in refused.text) == (400, True)
    assert request(one.port, "POST", target(transport="polling", sid=sid), body="40").status == 200


def test_the_parts_of_the_kubernetes_file_fit_each_other() -> None:
    yaml = pytest.importorskip("yaml")
    deployment, service, ingress = yaml.safe_load_all(page("docs/deployment.md").block("kubernetes.yaml"))
    assert [part["kind"] for part in (deployment, service, ingress)] == ["Deployment", "Service", "Ingress"]
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    graceful_s = float(container["args"][container["args"].index("--graceful-timeout") + 1])
    pause_s = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert graceful_s + pause_s < pod["spec"]["terminationGracePeriodSeconds"]
    annotated = {**service["metadata"]["annotations"], **ingress["metadata"]["annotations"]}
    assert all(isinstance(value, str) for value in annotated.values())
    assert {volume["name"] for volume in container["volumeMounts"]} == {
        volume["name"] for volume in pod["spec"]["volumes"]
    }
