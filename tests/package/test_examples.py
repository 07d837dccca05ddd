"""Every example runs, on its own, and says what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))

EXPECTED = {
    "credentials": 'refused: nats: permissions violation for publish to "closed.door"',
    "graceful_shutdown": "handled: 100",
    "kv_config": "history: ['4', '8']",
    "micro_service": "error:     400 division by zero",
    "object_store": "identical:  True",
    "ordered_reader": "read 1000 lines, in order: True",
    "publish_subscribe": "iterator: greet.sue hi",
    "publisher_dedup": "many:     2000 messages stored",
    "pull_worker": "20 jobs done, each once: True",
    "push_worker": "unacknowledged: 0",
    "queue_group": "3000 of 3000 messages handled",
    "request_reply": "nobody there:   nats: no responders available for request",
    "resilient_client": "received:     written while disconnected",
    "stream_setup": "deleted:  stream not found",
}


def test_every_example_is_expected() -> None:
    assert {example.stem for example in EXAMPLES} == set(EXPECTED)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert EXPECTED[example.stem] in done.stdout
    assert done.stderr == ""
