"""Run one scenario with the installed ``nats`` and print its lines.

    python run_scenario.py NAME --server PATH_OF_NATS_SERVER

Started by test_behaviour.py under both interpreters; needs nothing but ``nats``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
# In place of this folder, whose names are meant to be found as parity.NAME only.
sys.path[0] = str(FOLDER.parent)

TIMEOUT = 60.0


def choose_driver() -> None:
    """Take FASTNATS_DRIVER as the driver of all clients, where there is a choice."""
    from nats.aio.client import Client

    driver = os.environ.get("FASTNATS_DRIVER")
    if driver and hasattr(Client, "_driver"):
        Client._driver = driver


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="FILE.FUNCTION")
    parser.add_argument("--server", default=os.environ.get("NATS_SERVER", "nats-server"))
    arguments = parser.parse_args()

    choose_driver()
    importlib.import_module(f"parity.scenarios.{arguments.name.partition('.')[0]}")
    from parity.harness import SCENARIOS, run

    lines: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="parity") as directory:
            running = run(SCENARIOS[arguments.name], arguments.server, Path(directory), lines)
            asyncio.run(asyncio.wait_for(running, TIMEOUT))
    finally:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
