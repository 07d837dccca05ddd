"""What else installs, packs and reads packages: `make test-install`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support.environments import ROOT, WHICH, Done, Environment, nats_py, pip, run, wheel

pytestmark = [pytest.mark.tools, pytest.mark.timeout(600)]

USES = """
import nats, nats.js.api
version: str = nats.__version__  # nats-py has none
wrong: int = nats.js.api.StreamConfig(name="S")
"""


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the tools, in the versions of requirements/tools.txt."""
    made = Environment(tmp_path_factory.mktemp("tools") / "venv")
    locked = ROOT / "requirements" / "tools.txt"
    pip("install", "-q", "--require-hashes", "-r", locked, python=made.python)
    return made


def tool(tools: Environment, name: str, *arguments: str | Path, directory: Path) -> Done:
    """Run one of the tools; its caches go to the scratch directory."""
    program = tools.directory / "bin" / name
    environment = {"HOME": str(tools.scratch), "PEX_ROOT": str(tools.scratch / "pex")}
    for variable in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        if variable in os.environ:
            environment[variable] = os.environ[variable]
    done = run([program, *arguments], directory, environment)
    assert done.status == 0, str(done)
    return done


@pytest.fixture(params=["alone", "with nats-py"])
def made_by_uv(request: pytest.FixtureRequest, tools: Environment, tmp_path: Path) -> Path:
    """The interpreter of an environment that uv has made."""
    tool(tools, "uv", "venv", "-q", "--python", sys.executable, "venv", directory=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    install: list[str | Path] = ["pip", "install", "-q", "--python", python]
    tool(tools, "uv", *install, "--no-index", wheel(), directory=tmp_path)
    if request.param == "with nats-py":
        wheels = tmp_path / "wheels"
        pip("download", "-q", "-d", wheels, *nats_py(tmp_path))
        tool(tools, "uv", *install, "--no-index", "-f", wheels, "nats-py", directory=tmp_path)
    return python


def test_uv_pip(made_by_uv: Path, tmp_path: Path) -> None:
    done = run([made_by_uv, "-c", WHICH], tmp_path)
    assert (done.output, done.complaints) == ("fastnats\n", "")


def test_uv_run(tools: Environment, tmp_path: Path) -> None:
    command = ["run", "-q", "--no-project", "--no-index", "--python", sys.executable]
    done = tool(tools, "uv", *command, "--with", wheel(), "python", "-c", WHICH, directory=tmp_path)
    assert done.output == "fastnats\n"


def test_shiv(tools: Environment, tmp_path: Path) -> None:
    """Unpacks into a directory that it adds as a site directory."""
    packed = tmp_path / "app.pyz"
    tool(tools, "shiv", "-q", "-o", packed, "--no-index", wheel(), directory=tmp_path)
    done = run([sys.executable, packed, "-c", WHICH], tmp_path, {"SHIV_ROOT": str(tmp_path)})
    assert (done.output, done.complaints) == ("fastnats\n", "")


@pytest.mark.parametrize("form", [[], ["--venv"]])
def test_pex(tools: Environment, tmp_path: Path, form: list[str]) -> None:
    packed = tmp_path / "app.pex"
    tool(
        tools, "pex", *form, "--no-index", "--python", sys.executable, wheel(), "-o", packed,
        directory=tmp_path,
    )  # fmt: skip
    done = run([sys.executable, packed, "-c", WHICH], tmp_path, {"PEX_ROOT": str(tmp_path / "r")})
    assert done.output == "fastnats\n", str(done)


@pytest.mark.parametrize("form", ["--onedir", "--onefile"])
@pytest.mark.parametrize("beside", ["alone", "with nats-py"])
def test_pyinstaller(tools: Environment, tmp_path: Path, form: str, beside: str) -> None:
    if not _has_shared_library():
        pytest.skip("PyInstaller needs an interpreter with a shared library")
    made = Environment(tmp_path / "venv")
    made.install_fastnats()
    if beside == "with nats-py":
        made.install_nats_py()
    locked = ROOT / "requirements" / "tools.txt"
    pip("install", "-q", "--require-hashes", "-r", locked, python=made.python)
    (made.scratch / "app.py").write_text(WHICH)
    done = made.run("-m", "PyInstaller", form, "--log-level", "ERROR", "app.py")
    assert done.status == 0, str(done)
    built = made.scratch / "dist" / "app"
    program = built / "app" if form == "--onedir" else built
    assert run([program], tmp_path).output == "fastnats\n"


def _has_shared_library() -> bool:
    import sysconfig

    return bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))


def test_below_a_virtual_environment(tmp_path: Path) -> None:
    """A base with fastnats, as far as a virtual environment can be the base of another: by a path
    file, which is what system site packages are to those above."""
    base = Environment(tmp_path / "base")
    base.install_fastnats()
    above = Environment(tmp_path / "above")
    (above.site_packages / "base.pth").write_text(
        f"import site; site.addsitedir({str(base.site_packages)!r})\n"
    )
    assert above.which() == "fastnats"
    above.install_nats_py()
    assert above.which() == "nats-py"
    assert "comes before" in above.run("-m", "fastnats").output


@pytest.mark.parametrize("beside", ["alone", "with nats-py"])
@pytest.mark.parametrize("checker", ["mypy", "pyright", "ty"])
def test_type_checkers(tools: Environment, tmp_path: Path, checker: str, beside: str) -> None:
    made = Environment(tmp_path / "venv")
    made.install_fastnats()
    if beside == "with nats-py":
        made.install_nats_py()
    (tmp_path / "uses.py").write_text(USES)
    ours = Path(sys.executable).parent
    command: list[str | Path]
    if checker == "mypy":
        command = [ours / "mypy", "--strict", "--python-executable", made.python, "uses.py"]
    elif checker == "pyright":
        command = [ours / "pyright", "--pythonpath", made.python, "uses.py"]
    else:
        command = [tools.directory / "bin" / "ty", "check", "--python", made.directory, "uses.py"]
    done = run(command, tmp_path)
    assert done.status == 1, str(done)
    assert "StreamConfig" in done.output, str(done)
    unresolved = ("__version__", "unresolved-import", "reportMissingImports", "import-not-found")
    assert not any(word in done.output for word in unresolved), str(done)
