"""Runs a workload on the native yardstick, with its other end where it needs one."""

import subprocess
from typing import Any

from processes import RUN_TIMEOUT, Failed, last_json, ready, run_json


def run_native(yardstick: str, workload: str, url: str, count: int, size: int) -> dict[str, Any]:
    def command(mode: str, *options: str) -> list[str]:
        subject = ["--subject", "bench.native"]
        return [yardstick, mode, "--url", url, *subject, "--size", str(size), *options]

    counted = ("--count", str(count))
    if workload == "publish":
        result = run_json(command("publish", *counted))
    elif workload == "publish_headers":
        result = run_json(command("publish", *counted, "--headers"))
    elif workload in ("pubsub_callback", "pubsub_16k"):
        result = run_json(command("pubsub", *counted))
    elif workload == "receive_callback":
        with ready(command("receive", *counted)) as receiver:
            run_json(command("feed", *counted))
            try:
                output, _ = receiver.communicate(timeout=RUN_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise Failed("the receiver did not get every message") from None
            result = last_json(output)
    elif workload.startswith("request_"):
        inflight = workload.removeprefix("request_")
        # One thread: the lower latency of the two, as everywhere the yardstick gets its best.
        request = command("request", *counted, "--inflight", inflight, "--one-thread")
        with ready(command("respond", "--one-thread")):
            result = run_json(request)
    else:
        result = run_json(command(*jetstream(workload), *counted))
    messages = result["messages"]
    result["mb_per_second"] = result["rate"] * size / 1e6
    result["cpu_per_million"] = result["cpu_seconds"] / messages * 1e6
    return result


def jetstream(workload: str) -> list[str]:
    """Mode and options; one thread where one thing is done after the other."""
    if workload == "kv_get_64":
        return ["kv-get", "--inflight", "64"]
    mode = workload.replace("_", "-")
    return [mode, "--one-thread"] if workload in ("js_publish", "kv_put", "kv_get") else [mode]
