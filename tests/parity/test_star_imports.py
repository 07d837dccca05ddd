"""``from nats… import *`` gives what nats-py's modules give, as far as it is nats-py's own.

Of what they import from elsewhere, such as ``Dict`` or ``json``, that is held for ``asyncio``. The
modules of a package aren't its names here: `nats` doesn't load all of its own.
"""

from __future__ import annotations

import functools
import json
import subprocess

import pytest
from parity.interpreters import FOLDER, OURS, environment_of, reference
from parity.test_surface import MODULES

UNUSED = "our module has no use for it"

# Names that aren't given, and why. A reason that isn't needed any more fails.
LEFT_OUT = {
    "nats.aio.client.parse_email": "headers are parsed in Rust",
    "nats.js.client.asyncio": UNUSED,
    "nats.js.errors.api": "errors import nothing that stands above them",
    "nats.js.kv.asyncio": UNUSED,
    "nats.js.kv.nats": UNUSED,
    "nats.js.object_store.nats": UNUSED,
}


@functools.cache
def given_by_modules(python: str) -> dict[str, dict[str, bool]]:
    run = subprocess.run(
        [python, str(FOLDER / "star_imports.py"), *MODULES],
        env=environment_of(python),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert run.returncode == 0, run.stderr
    printed: dict[str, dict[str, bool]] = json.loads(run.stdout)
    return printed


@pytest.mark.parametrize("module", MODULES)
def test_names(module: str) -> None:
    ours = given_by_modules(OURS)[module]
    theirs = given_by_modules(reference())[module]
    held = {f"{module}.{name}" for name, own in theirs.items() if own or name == "asyncio"}
    held -= {*MODULES, f"{module}.TYPE_CHECKING"}
    missing = held - {f"{module}.{name}" for name in ours}
    expected = {path for path in LEFT_OUT if path.rpartition(".")[0] == module}
    assert missing == expected, "put them into __all__, or into LEFT_OUT with a reason"
