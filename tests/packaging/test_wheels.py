"""Each wheel holds what a user of it needs, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import sys
from configparser import ConfigParser
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from support.environments import ROOT, run

PLUGINS = (
    "admin_ui",
    "async_eventlet",
    "async_gevent",
    "async_threading",
    "limits",
    "observe_prometheus",
    "presence",
    "queue_host",
    "queue_kafka",
    "queue_kombu",
    "queue_redis",
)
PACKAGES = ("flask_socketio_core", *(f"flask_socketio_{plugin}" for plugin in PLUGINS))

pytestmark = pytest.mark.timeout(300)  # the first test waits for the builds


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def wheel(package: str, wheels: Path) -> ZipFile:
    """The wheel that brings ``package``."""
    (path,) = wheels.glob(f"{package}-*.whl")
    return ZipFile(path)


def test_there_is_a_wheel_for_each_distribution(wheels: Path) -> None:
    assert sorted(path.name.partition("-")[0] for path in wheels.glob("*.whl")) == sorted(PACKAGES)


def test_wheel_holds_its_package_and_nothing_beside(wheel: ZipFile, package: str) -> None:
    with wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}


def test_wheel_is_marked_as_typed(wheel: ZipFile, package: str) -> None:
    with wheel:
        assert f"{package}/py.typed" in wheel.namelist()


def test_wheel_holds_the_licence(wheel: ZipFile) -> None:
    with wheel:
        metadata = metadata_of(wheel)
        licences = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
        assert metadata["License-Expression"] == "MIT"
        assert len(licences) == 1
        assert b"MIT License" in wheel.read(licences[0])


def test_wheel_asks_for_python_3_10(wheel: ZipFile) -> None:
    with wheel:
        assert metadata_of(wheel)["Requires-Python"] == ">=3.10"


def test_wheel_has_a_description_for_the_index(wheel: ZipFile) -> None:
    with wheel:
        metadata = metadata_of(wheel)
    assert metadata["Summary"]
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_no_link_of_the_description_leads_nowhere_on_the_index(wheel: ZipFile) -> None:
    with wheel:
        assert relative_links(metadata_of(wheel)) == []


def test_the_distributions_name_the_same_addresses(wheels: Path) -> None:
    named = {}
    for package in PACKAGES:
        with open_wheel(wheels, package) as wheel:
            named[package] = sorted(metadata_of(wheel).get_all("Project-URL", []))
    assert named == dict.fromkeys(PACKAGES, named["flask_socketio_core"]), (
        "copy [project.urls] to each plugin"
    )


def test_the_descriptions_links_lead_to_the_address_of_the_repository(
    package_index: None, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "flask_socketio_core", tmp_path / "flask_socketio_core")
    for name in ("README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path)
    project = (ROOT / "pyproject.toml").read_text()
    if "\n[project.urls]\n" not in project:
        project += '\n[project.urls]\nRepository = "https://code.example/core"\n'
    (tmp_path / "pyproject.toml").write_text(project)
    command = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, tmp_path)
    run(sys.executable, *command, cwd=tmp_path)
    with open_wheel(tmp_path, "flask_socketio_core") as wheel:
        metadata = metadata_of(wheel)
    (address,) = (
        text.partition(", ")[2]
        for text in metadata.get_all("Project-URL", [])
        if text.startswith("Repository, ")
    )
    assert f"[tutorial]({address}/blob/main/docs/tutorial.md)" in metadata.get_payload()
    assert 'SocketIO(app, async_mode="threading"' in metadata.get_payload()  # brackets that are no link
    assert relative_links(metadata) == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_registers_itself_under_its_kind_and_name(plugin: str, wheels: Path) -> None:
    with open_wheel(wheels, f"flask_socketio_{plugin}") as wheel:
        (path,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
        text = wheel.read(path).decode()
        assert f"flask_socketio_{plugin}/hooks.py" in wheel.namelist()
    points = ConfigParser()
    points.read_string(text)
    assert dict(points["flask_socketio_core"]) == {plugin.replace("_", "-"): f"flask_socketio_{plugin}.hooks"}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_accepts_one_minor_release_of_the_core(plugin: str, wheels: Path) -> None:
    with open_wheel(wheels, f"flask_socketio_{plugin}") as wheel:
        requirements = metadata_of(wheel).get_all("Requires-Dist", [])
    assert "flask-socketio-core<0.2,>=0.1" in requirements


@pytest.mark.parametrize(
    ("extra", "distribution"),
    [
        ("eventlet", "flask-socketio-async-eventlet"),
        ("gevent", "flask-socketio-async-gevent"),
        ("threading", "flask-socketio-async-threading"),
        ("redis", "flask-socketio-queue-redis"),
        ("kafka", "flask-socketio-queue-kafka"),
        ("host", "flask-socketio-queue-host"),
        ("kombu", "flask-socketio-queue-kombu"),
        ("rabbitmq", "flask-socketio-queue-kombu"),
        ("admin-ui", "flask-socketio-admin-ui"),
        ("limits", "flask-socketio-limits"),
        ("prometheus", "flask-socketio-observe-prometheus"),
        ("presence", "flask-socketio-presence"),
    ],
)
def test_extra_of_the_core_brings_its_plugin(extra: str, distribution: str, wheels: Path) -> None:
    with open_wheel(wheels, "flask_socketio_core") as wheel:
        requirements = metadata_of(wheel).get_all("Requires-Dist", [])
    wanted = re.compile(rf"{distribution}\S* *; *extra == '{extra}'")
    assert any(wanted.fullmatch(requirement) for requirement in requirements)


def test_wheel_of_the_admin_ui_brings_its_page_with_its_licence(wheels: Path) -> None:
    with open_wheel(wheels, "flask_socketio_admin_ui") as wheel:
        names = wheel.namelist()
        page = "flask_socketio_admin_ui/page/"
        if f"{page}index.html" not in names and os.environ.get("REQUIRE_BROKERS") != "1":
            pytest.skip("npm could not fetch the page")
        assert b"The Socket.IO team" in wheel.read(f"{page}LICENSE")
        assert wheel.read(f"{page}VERSION") == b"0.5.1"
        assert re.search(rb'src="js/app[.]\w+[.]js"', wheel.read(f"{page}index.html"))
        assert sum(name.startswith(f"{page}js/") for name in names) == 2  # no source maps


def open_wheel(wheels: Path, package: str) -> ZipFile:
    (path,) = wheels.glob(f"{package}-*.whl")
    return ZipFile(path)


def relative_links(metadata: Message) -> list[str]:
    """Return the links of a description to other files, code left out."""
    description = re.sub(r"^```.*?^```$", "", str(metadata.get_payload()), flags=re.DOTALL | re.MULTILINE)
    assert description.startswith("# ")
    return re.findall(r"\]\((?![a-z]+:|#)([^)]+)\)", description)


def metadata_of(wheel: ZipFile) -> Message:
    (path,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(path))
