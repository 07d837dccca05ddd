"""The program at the other end of interoperability tests: a client made with async-nats."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nats.embedded import Server

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).parents[2] / "target")
PROGRAM = TARGET / "debug" / "peer"


def command(mode: str, server: Server, *options: str) -> list[str]:
    """The command line that has the other client do something; the test fails where it isn't."""
    if not PROGRAM.exists():
        pytest.fail("the interoperability peer is missing: build it with `make peer`")
    return [str(PROGRAM), mode, "--url", server.url, *options]
