"""Directories whose .pth files no interpreter reads, and orders of the path that others decide."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.environments import WHICH, Environment, nats_py, pip, wheel

ACTIVATED = f"import fastnats; print(fastnats.activate()); {WHICH}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An empty one."""
    return Environment(tmp_path_factory.mktemp("empty") / "venv")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install --target` makes, as for a Lambda layer."""
    directory = tmp_path_factory.mktemp("target")
    pip("install", "-q", "--no-index", "--target", directory, wheel())
    return directory


@pytest.fixture(scope="module")
def with_nats_py(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with nats-py beside it."""
    directory = tmp_path_factory.mktemp("target")
    pip("install", "-q", "--no-index", "--target", directory, wheel())
    pip("install", "-q", "--target", directory, *nats_py(directory))
    return directory


@pytest.fixture(params=["alone", "with_nats_py"])
def target(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(request.param)
    return directory


def test_activated_by_hand(environment: Environment, target: Path) -> None:
    assert environment.says("-c", ACTIVATED, PYTHONPATH=str(target)) == "True\nfastnats"
    again = f"import fastnats; fastnats.activate(); import nats; {ACTIVATED}"
    assert environment.says("-c", again, PYTHONPATH=str(target)) == "True\nfastnats"


def test_not_activated(environment: Environment, target: Path) -> None:
    done = environment.run("-c", WHICH, PYTHONPATH=str(target))
    theirs = (target / "nats").exists()
    assert (done.status == 0) is theirs
    doctor = environment.run("-m", "fastnats", PYTHONPATH=str(target))
    assert doctor.status == 1
    assert f"the interpreter reads no .pth files in {target}" in doctor.output
    assert "call fastnats.activate()" in doctor.output


def test_activated_too_late(environment: Environment, with_nats_py: Path) -> None:
    late = environment.run("-c", f"import nats; {ACTIVATED}", PYTHONPATH=str(with_nats_py))
    assert late.status == 1
    loaded = f"ImportError: nats has been imported already, from {with_nats_py / 'nats'}"
    assert loaded in late.complaints


def test_activated_when_switched_off(environment: Environment, target: Path) -> None:
    script = "import fastnats; print(fastnats.activate())"
    given = {"PYTHONPATH": str(target), "FASTNATS": "0"}
    assert environment.says("-c", script, **given) == "False"


def test_on_the_path_by_hand(environment: Environment, target: Path) -> None:
    path = os.pathsep.join([str(target / "fastnats" / "drop_in"), str(target)])
    assert environment.which(PYTHONPATH=path) == "fastnats"
    assert "Everything is in order" in environment.says("-m", "fastnats", PYTHONPATH=path)


def test_as_a_site_directory(environment: Environment, target: Path) -> None:
    script = f"import site; site.addsitedir({str(target)!r}); {WHICH}"
    assert environment.says("-c", script) == "fastnats"


def test_the_nearer_directory_wins(tmp_path: Path) -> None:
    """nats-py in an environment above a user site with fastnats, and the other way around."""
    user = str(tmp_path / "user")
    theirs = Environment(tmp_path / "theirs", system_site_packages=True)
    theirs.install_nats_py()
    flags = ["install", "-q", "--user", "--no-index", "--ignore-installed"]
    base = theirs.run("-c", "import sys; print(sys._base_executable)").output.strip()
    os.environ["PYTHONUSERBASE"] = user
    try:
        pip(*flags, "--break-system-packages", wheel(), python=base)
    finally:
        del os.environ["PYTHONUSERBASE"]
    assert theirs.which(PYTHONUSERBASE=user) == "nats-py"
    doctor = theirs.run("-m", "fastnats", PYTHONUSERBASE=user)
    assert doctor.status == 1
    assert f"{theirs.site_packages} comes before" in doctor.output

    empty = Environment(tmp_path / "empty", system_site_packages=True)
    assert empty.which(PYTHONUSERBASE=user) == "fastnats"
    assert "Everything is in order" in empty.says("-m", "fastnats", PYTHONUSERBASE=user)
