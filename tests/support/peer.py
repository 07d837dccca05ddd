"""The program at the other end of interoperability tests: a client made with async-nats."""

import os
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).parents[2] / "target")
PROGRAM = TARGET / "debug" / "peer"
