"""An environment with fastnats alone: however its interpreter is started."""

from __future__ import annotations

import shutil
import sys
import zipfile

import pytest
from support.environments import WHICH, Environment


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("alone") / "venv")
    made.install_fastnats()
    return made


@pytest.mark.parametrize("options", [[], ["-I"], ["-E"], ["-s"], ["-B", "-O"]])
def test_options(environment: Environment, options: list[str]) -> None:
    assert environment.which(*options) == "fastnats"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P came with 3.11")
def test_without_the_directory_of_the_script(environment: Environment) -> None:
    assert environment.which("-P") == "fastnats"


def test_without_site(environment: Environment) -> None:
    """-S reads no .pth file, and has no site directory on the path."""
    path = str(environment.site_packages)
    failed = environment.run("-S", "-c", WHICH, PYTHONPATH=path)
    assert "No module named 'nats'" in failed.complaints
    doctor = environment.run("-S", "-m", "fastnats", PYTHONPATH=path)
    assert doctor.status == 1
    assert "with -S, the interpreter reads no .pth files" in doctor.output
    assert "call fastnats.activate()" in doctor.output
    activated = f"import fastnats; print(fastnats.activate()); {WHICH}"
    assert environment.says("-S", "-c", activated, PYTHONPATH=path) == "True\nfastnats"


def test_subprocesses(environment: Environment) -> None:
    script = (
        "import subprocess, sys\n"
        f"command = [sys.executable, '-c', {WHICH!r}]\n"
        "print(subprocess.run(command, env={}, capture_output=True, text=True).stdout)"
    )
    assert environment.says("-c", script) == "fastnats"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(environment: Environment, method: str) -> None:
    script = environment.scratch / f"{method}.py"
    script.write_text(
        "import multiprocessing\n"
        "def which():\n"
        f"    {WHICH}\n"
        "if __name__ == '__main__':\n"
        f"    process = multiprocessing.get_context({method!r}).Process(target=which)\n"
        "    process.start()\n"
        "    process.join(60)\n"
    )
    assert environment.says(script) == "fastnats"


def test_the_path_is_handled_once(environment: Environment) -> None:
    script = (
        "import sys, _fastnats_precedence\n"
        "before = list(sys.path)\n"
        "_fastnats_precedence.apply()\n"
        "assert sys.path == before\n"
        "drop_in = [entry for entry in sys.path if entry.endswith('drop_in')]\n"
        "home = sys.path[sys.path.index(drop_in[0]) + 1]\n"
        "print(len(drop_in), home)"
    )
    assert environment.says("-c", script) == f"1 {environment.site_packages}"


def test_nothing_else_is_imported_at_the_start(environment: Environment) -> None:
    script = "import sys; print(*sorted(name for name in sys.modules if 'nats' in name))"
    assert environment.says("-c", script) == "_fastnats_precedence"


def test_switched_off(environment: Environment) -> None:
    failed = environment.run("-c", WHICH, FASTNATS="0")
    assert "No module named 'nats'" in failed.complaints
    doctor = environment.run("-m", "fastnats", FASTNATS="0")
    assert (doctor.status, doctor.output.split("\n")[0]) == (1, "import nats      nothing")


def test_doctor(environment: Environment) -> None:
    for command in (["fastnats"], ["fastnats", "doctor"], ["nats"]):
        told = environment.says("-m", *command)
        assert f"{environment.site_packages / 'fastnats/drop_in/nats'}\n" in told
        assert told.endswith("Everything is in order.")
    assert environment.run("-m", "fastnats", "surgeon").status == 2


def test_the_doctor_finds_a_file_that_hides_the_package(environment: Environment) -> None:
    hiding = environment.scratch / "nats.py"
    hiding.write_text("raise SystemExit('the doctor has run it')")
    try:
        doctor = environment.run("-m", "fastnats")
    finally:
        hiding.unlink()
    assert doctor.status == 1
    assert f"Rename {hiding}" in doctor.output


@pytest.mark.parametrize("missing", ["fastnats_precedence.pth", "fastnats/drop_in"])
def test_the_doctor_finds_what_is_missing(environment: Environment, missing: str) -> None:
    path = environment.site_packages / missing
    aside = path.rename(path.with_name("aside"))
    try:
        doctor = environment.run("-m", "fastnats")
    finally:
        aside.rename(path)
    assert doctor.status == 1
    assert "pip install --force-reinstall fastnats" in doctor.output


def test_the_doctor_finds_a_broken_native_module(environment: Environment) -> None:
    path = next((environment.site_packages / "fastnats/drop_in/nats").glob("_core.*.so"))
    aside = path.rename(path.with_name("aside"))
    path.write_bytes(b"not a library")
    try:
        doctor = environment.run("-m", "fastnats")
    finally:
        aside.replace(path)
    assert doctor.status == 1
    assert "`import nats` fails (ImportError" in doctor.output


def test_other_packages_of_the_namespace(environment: Environment) -> None:
    """What nats-core and nats-jetstream do: a directory `nats` without `__init__.py`."""
    portion = environment.site_packages / "nats" / "client"
    portion.mkdir(parents=True)
    (portion / "__init__.py").write_text("VALUE = 42\n")
    try:
        script = "import nats.aio; from nats.client import VALUE; print(VALUE)"
        assert environment.says("-c", script) == "42"
        assert environment.which() == "fastnats"
    finally:
        shutil.rmtree(portion.parent)


def test_version(environment: Environment) -> None:
    script = "import fastnats, nats; print(fastnats.__version__ == nats.__version__)"
    assert environment.says("-c", script) == "True"


def test_import_of_fastnats_alone_is_light(environment: Environment) -> None:
    script = (
        "import fastnats, sys; print('nats' in sys.modules, 'importlib.metadata' in sys.modules)"
    )
    assert environment.says("-c", script) == "False False"


def test_the_doctor_finds_a_nearer_directory(environment: Environment) -> None:
    nearer = environment.scratch / "nats"
    nearer.mkdir()
    (nearer / "__init__.py").write_text("")
    try:
        doctor = environment.run("-m", "fastnats")
    finally:
        shutil.rmtree(nearer)
    assert doctor.status == 1
    assert f"{environment.scratch} comes before" in doctor.output


@pytest.mark.parametrize("variable", ["FASTNATS_DRIVER=bogus", "FASTNATS=false"])
def test_the_doctor_finds_variables_that_say_nothing(
    environment: Environment, variable: str
) -> None:
    name, _, value = variable.partition("=")
    doctor = environment.run("-m", "fastnats", **{name: value})
    assert doctor.status == 1
    assert f"* {variable} " in doctor.output


def test_the_doctor_speaks_any_encoding(environment: Environment) -> None:
    hiding = environment.scratch / "\u00fc"
    hiding.mkdir()
    (hiding / "nats.py").write_text("")
    given = {"PYTHONPATH": str(hiding), "PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    doctor = environment.run("-m", "fastnats", **given)
    assert (doctor.status, doctor.complaints) == (1, "")
    assert "\\xfc" in doctor.output


def test_from_an_archive(environment: Environment) -> None:
    archive = environment.scratch / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (environment.site_packages / "fastnats").rglob("*.py"):
            packed.write(path, path.relative_to(environment.site_packages))
    script = "import fastnats; fastnats.activate()"
    failed = environment.run("-S", "-c", script, PYTHONPATH=str(archive))
    assert "a native module can't be imported from an archive" in failed.complaints
