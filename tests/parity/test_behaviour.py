"""Each scenario makes a program see the same on nats-py and here.

On one of the drivers, half of the scenarios on each; with ``--full-matrix`` on both.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import signal
import subprocess
import time
import zlib
from collections.abc import Sequence

import pytest
from parity.harness import SCENARIOS
from parity.interpreters import FOLDER, OURS, environment_of, nats_server, reference
from support.tls import HOSTS, make_certificates

DRIVERS = ("tokio", "asyncio")
# nats-py needs it for WebSockets only, and imports it always, which takes longer than most
# scenarios.
WITHOUT_AIOHTTP = FOLDER.parent.parent / "benches" / "without_aiohttp"

# More than a scenario takes that hangs, less than pytest allows for a test.
TIMEOUT = 120

# What asyncio and the interpreter print about things that were forgotten.
NEGLECT = ("was never retrieved", "was never awaited", "was destroyed but it is pending")

for path in sorted((FOLDER / "scenarios").glob("[!_]*.py")):
    importlib.import_module(f"parity.scenarios.{path.stem}")


def start(python: str, name: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, str(FOLDER / "run_scenario.py"), name, "--server", nats_server()],
        env={**environment_of(python), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own, so that the servers of a run that hangs end with it.
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], deadline: float) -> tuple[list[str], str]:
    """Return the lines of a run and its complaints."""
    try:
        output, errors = process.communicate(timeout=max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        end(process)
        output, errors = process.communicate()
        errors += f"\nended after {TIMEOUT} s"
    if process.returncode:
        errors += f"\nexit status {process.returncode}"
        return [*output.splitlines(), "the scenario failed"], errors
    return output.splitlines(), errors


def end(process: subprocess.Popen[str]) -> None:
    # A group whose leader was waited for may be somebody else's by now.
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def neglected(errors: str) -> set[str]:
    return {sign for sign in NEGLECT if sign in errors}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory of certificates, made here as the reference's environment has no tools."""
    directory = tmp_path_factory.mktemp("certificates")
    made = make_certificates(directory)
    made.issue("server", *HOSTS)
    made.issue("other", "nats.example")
    made.issue("client", "joe@example.org")
    return str(directory)


@pytest.fixture
def drivers(request: pytest.FixtureRequest, name: str) -> Sequence[str]:
    if request.config.getoption("--full-matrix"):
        return DRIVERS
    return DRIVERS[zlib.crc32(name.encode()) & 1 :][:1]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_behaviour(name: str, drivers: Sequence[str], certificates: str) -> None:
    scenario = SCENARIOS[name]
    given = {"PARITY_CERTIFICATES": certificates}
    path = {} if name.startswith("websocket.") else {"PYTHONPATH": str(WITHOUT_AIOHTTP)}
    processes = {
        "nats-py": start(reference(), name, **given, **path),
        **{driver: start(OURS, name, FASTNATS_DRIVER=driver, **given) for driver in drivers},
    }
    deadline = time.monotonic() + TIMEOUT
    try:
        results = {label: finish(process, deadline) for label, process in processes.items()}
    finally:
        for process in processes.values():
            end(process)

    theirs, complaints = results["nats-py"]
    assert theirs[-1:] != ["the scenario failed"], f"{complaints}\n" + "\n".join(theirs)
    assert theirs, "the scenario says nothing"
    expected = list(scenario.expected) or theirs
    if scenario.differs:
        assert theirs != expected, f"nats-py does this too, remove: {scenario.differs}"

    problems = []
    for driver in drivers:
        lines, errors = results[driver]
        if lines != expected:
            diff = difflib.unified_diff(expected, lines, "expected", driver, lineterm="", n=100)
            problems += [*diff, errors]
        elif neglected(errors) - neglected(complaints):
            problems += [f"{driver} says the right things, but:", errors]
    assert not problems, "\n" + "\n".join(problems)
