"""Other interpreters of the same process."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The kind that mod_wsgi makes for each application: with a GIL and a memory in common.
SECOND = """
import sys
try:
    from _testcapi import run_in_subinterp
except ImportError:
    print("skipped")
    sys.exit()

import nats
TRY = '''
import sys
sys.path[:] = PATH
try:
    import nats
except ImportError as error:
    print("refused:", error, flush=True)
else:
    print("imported", flush=True)
'''
for _ in range(2):
    run_in_subinterp(TRY.replace("PATH", repr(sys.path)))
import asyncio
print(type(nats.connect("nats://127.0.0.1:1").close()), flush=True)
"""


def test_a_second_interpreter_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SECOND], capture_output=True, text=True, timeout=40
    )
    assert done.returncode == 0, done.stderr
    if done.stdout == "skipped\n":
        pytest.skip("this Python has no _testcapi")
    first, second, alive = done.stdout.splitlines()
    assert first == second
    assert first.startswith("refused: ")
    assert "interpreter" in first
    assert "WSGIApplicationGroup %{GLOBAL}" in first
    assert alive == "<class 'NoneType'>"
