"""Pairs fastnats with nats-py and with native async-nats, and writes table, plot and raw data.

.venv/bin/python benches/run.py
.venv/bin/python benches/run.py --only publish,request_1 --repeat 3
"""

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from catalog import DRIVERS, VARIANTS, WORKLOADS, Server, Variant, Workload
from native import run_native
from processes import Endpoint, Failed, nats_server, run_json
from report import Samples, markdown

ROOT = Path(__file__).absolute().parents[1]
BENCHES = ROOT / "benches"

# fastnats and nats-py share the import name, and may be installed side by side.
PROBE = """
import importlib.metadata, json, platform
versions = {"python": platform.python_version()}
for name in ("fastnats", "nats-py", "uvloop"):
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
import nats
nats.connect
imported = "fastnats" if hasattr(nats, "__version__") else "nats-py"
print(json.dumps({"imported": imported, "versions": versions}))
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--only", help="comma-separated workloads: " + ", ".join(names))
    parser.add_argument("--drivers", default=",".join(DRIVERS), help="of fastnats (default both)")
    parser.add_argument("--repeat", type=int, help="repetitions (default 5, with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    # Not resolved: a virtual environment's interpreter is found through its symlink.
    parser.add_argument("--ours-python", type=Path, default=ROOT / ".venv/bin/python")
    parser.add_argument("--ref-python", type=Path, default=ROOT / ".venv-ref/bin/python")
    parser.add_argument("--server", type=Path, default=ROOT / ".venv/bin/nats-server")
    parser.add_argument("--yardstick", type=Path, default=ROOT / "target/release/yardstick")
    parser.add_argument("--out", type=Path, default=BENCHES / "results")
    args = parser.parse_args()
    args.repeat = args.repeat or (1 if args.quick else 5)
    args.only = args.only.split(",") if args.only else names
    if unknown := set(args.only) - set(names):
        parser.error(f"unknown workloads: {', '.join(sorted(unknown))}")
    for path in (args.server, args.yardstick):
        if not path.exists():
            parser.error(f"{path} is missing: run `make build native`")
    return args


class Runner:
    def __init__(self, args: argparse.Namespace, servers: dict[Server, Endpoint]) -> None:
        self.args = args
        self.servers = servers
        self.samples: Samples = {}
        self.failures: list[str] = []

    def run(self, workload: Workload, variants: list[Variant]) -> None:
        """Interleaved, A B C A B C…, so that a slow minute of the machine hits all alike."""
        runs = self.samples.setdefault(workload.name, {})
        for repetition in range(self.args.repeat):
            for variant in variants:
                if not applies(workload, variant):
                    continue
                try:
                    result = self.measure(workload, variant)
                except Failed as failure:
                    self.failures.append(f"{workload.name} on {variant.name}: {failure}")
                    print(f"  FAILED {self.failures[-1]}", flush=True)
                    continue
                runs.setdefault(variant.name, []).append(result)
                print(f"  {repetition + 1}: {variant.name:24} {headline(result)}", flush=True)

    def measure(self, workload: Workload, variant: Variant) -> dict[str, Any]:
        count = workload.count(variant, self.args.quick)
        server = self.servers[workload.server]
        if variant.implementation == "native":
            yardstick = str(self.args.yardstick)
            return run_native(yardstick, workload.name, server.url, count, workload.size)
        ours = variant.implementation == "fastnats"
        python = self.args.ours_python if ours else self.args.ref_python
        command = [str(python), str(BENCHES / "workload.py"), workload.name]
        command += ["--url", server.url, "--loop", variant.loop, "--count", str(count)]
        command += ["--size", str(workload.size), "--yardstick", str(self.args.yardstick)]
        if server.authority:
            command += ["--authority", server.authority]
        if ours:
            return run_json(command, {"FASTNATS_DRIVER": variant.driver})
        # Nobody's PYTHONPATH may make fastnats of nats-py, and where aiohttp isn't needed, its
        # import must not count.
        path = "" if workload.name.endswith("_ws") else str(BENCHES / "without_aiohttp")
        return run_json(command, {"PYTHONPATH": path, "FASTNATS": "0"})


def applies(workload: Workload, variant: Variant) -> bool:
    if variant.implementation == "native":
        return workload.native > 0
    return variant.loop in workload.loops


def headline(result: dict[str, Any]) -> str:
    shown = ("rate", "seconds", "p50_us", "cpu_per_million", "rss_growth", "import_seconds")
    return "  ".join(f"{key}={result[key]:.6g}" for key in shown if key in result)


def probe(python: Path, distribution: str) -> dict[str, str]:
    switch = {} if distribution == "fastnats" else {"FASTNATS": "0"}
    try:
        found = run_json([str(python), "-c", PROBE], switch)
    except (Failed, OSError) as error:
        raise Failed(f"{distribution} cannot be imported by its interpreter: {error}") from None
    if found["imported"] != distribution:
        raise Failed(f"the `nats` of that interpreter is not {distribution}")
    versions: dict[str, str] = found["versions"]
    return versions


def native_versions(server: Path) -> dict[str, str]:
    lines = (ROOT / "Cargo.lock").read_text().splitlines()
    async_nats = lines[lines.index('name = "async-nats"') + 1].split('"')[1]
    output = subprocess.run([str(server), "--version"], capture_output=True, text=True, check=True)
    return {"async-nats": async_nats, "nats-server": output.stdout.split()[-1].lstrip("v")}


def shown_command() -> str:
    """As one would type it in the repository, without anyone's absolute paths."""

    def shorten(word: str) -> str:
        path = Path(word)
        if not path.is_absolute():
            return word
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name

    return shlex.join(["benches/run.py", *map(shorten, sys.argv[1:])])


def main() -> int:
    args = arguments()
    # SIGTERM has to unwind the stack too: that is where the children are killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    about: dict[str, Any] = {
        "command": shown_command(),
        "date": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "repeat": args.repeat,
        "quick": args.quick,
    }
    versions = probe(args.ref_python, "nats-py")
    drivers = ("", *args.drivers.split(","))
    variants = [variant for variant in VARIANTS if variant.driver in drivers]
    try:
        versions |= probe(args.ours_python, "fastnats")
    except Failed as failure:
        print(f"Measuring without fastnats: {failure}", flush=True)
        variants = [variant for variant in variants if variant.implementation != "fastnats"]
    about["versions"] = versions | native_versions(args.server)

    workloads = [workload for workload in WORKLOADS if workload.name in args.only]
    with contextlib.ExitStack() as stack:
        servers = {
            kind: stack.enter_context(nats_server(str(args.server), kind))
            for kind in sorted({workload.server for workload in workloads})
        }
        runner = Runner(args, servers)
        for workload in workloads:
            print(workload.name, flush=True)
            runner.run(workload, variants)

    args.out.mkdir(parents=True, exist_ok=True)
    raw = {"about": about, "failures": runner.failures, "samples": runner.samples}
    (args.out / "results.json").write_text(json.dumps(raw, indent=1) + "\n")
    text = markdown(runner.samples, about, runner.failures)
    (args.out / "results.md").write_text(text)
    print("\n" + text)
    write_plot(runner.samples, args.out / "results.png")
    return 1 if runner.failures else 0


def write_plot(samples: Samples, path: Path) -> None:
    # A plot of an earlier run must not stand beside this run's table.
    path.unlink(missing_ok=True)
    try:
        from plot import draw
    except ImportError:
        print("No plot: matplotlib is not installed (requirements/bench.txt).")
        return
    if not draw(samples, path):
        print("No plot: there is nothing to compare.")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"error: {failure}")
