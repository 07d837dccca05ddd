"""`import nats` is fastnats wherever pip has put nats-py, and each can go without the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.environments import Environment, pip

PROBE = """
import importlib.metadata, nats, nats.aio.client, nats.js, nats.micro
print(importlib.metadata.version("nats-py"), nats.aio.client.Client.__module__, nats.__file__)
"""


@pytest.fixture(scope="module", params=["before", "after"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """An environment that got nats-py before or after fastnats."""
    made = Environment(tmp_path_factory.mktemp("both") / "venv")
    install = [made.install_nats_py, made.install_fastnats]
    for step in install if request.param == "before" else reversed(install):
        step()
    return made


def test_ours_wins(environment: Environment) -> None:
    assert environment.which() == "fastnats"
    version, module, origin = environment.says("-c", PROBE).split()
    assert (version, module) == ("2.16.0", "nats.aio.client")
    assert Path(origin) == environment.site_packages / "fastnats/drop_in/nats/__init__.py"
    assert "No broken requirements" in pip("check", python=environment.python)
    doctor = environment.says("-m", "fastnats")
    assert "fastnats_precedence.pth puts it in front" in doctor
    assert f"nats-py 2.16.0, {environment.site_packages / 'nats'}" in doctor


def test_switched_off(environment: Environment) -> None:
    assert environment.which(FASTNATS="0") == "nats-py"
    assert environment.which(FASTNATS="1") == "fastnats"
    assert environment.says("-c", PROBE, FASTNATS="0").startswith("2.16.0 nats.aio.client")
    doctor = environment.run("-m", "fastnats", FASTNATS="0")
    assert doctor.status == 1
    assert "FASTNATS=0 leaves fastnats out" in doctor.output


def test_the_embedded_server_is_there_when_switched_off(environment: Environment) -> None:
    script = "from fastnats.embedded import Server; import nats; print(hasattr(nats, 'NATS'))"
    assert environment.says("-c", script, FASTNATS="0") == "True"


def test_nats_py_has_no_module_that_ours_lacks(environment: Environment) -> None:
    """Ours looks into other packages' directories, too: nothing of nats-py may come from there."""
    script = """
import importlib.util, os, sys
theirs = os.path.join(sys.argv[1], "nats")
for directory, _, files in os.walk(theirs):
    for file in files:
        if file.endswith(".py"):
            path = os.path.relpath(os.path.join(directory, file[:-3]), os.path.dirname(theirs))
            name = path.replace(os.sep, ".").removesuffix(".__init__")
            if importlib.util.find_spec(name).origin.startswith(theirs):
                print(name)
"""
    assert environment.says("-c", script, str(environment.site_packages)) == ""


def test_either_goes_without_the_other(tmp_path: Path) -> None:
    made = Environment(tmp_path / "venv")
    made.install_nats_py()
    theirs = set(made.site_packages.rglob("*.py"))
    made.install_fastnats()
    made.uninstall("fastnats")
    assert made.which() == "nats-py"
    assert set(made.site_packages.rglob("*.py")) == theirs
    assert not list(made.site_packages.rglob("*fastnats*"))
    made.install_fastnats()
    made.uninstall("nats-py")
    assert made.which() == "fastnats"
