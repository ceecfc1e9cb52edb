"""What the speed benchmarks share: a service of their own, what it costs, and how results are written."""

import argparse
import ctypes
import json
import os
import platform
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from prometheus_client.parser import text_string_to_metric_families

import copyhound
from copyhound.service_process import service_command, service_environment

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""From <malloc.h>."""

FOLD_AT_ONCE: Final[Mapping[str, str]] = {"COPYHOUND_FOLD_AFTER_SECONDS": "0.1"}
"""Settings under which snapshots are written as soon as something changed."""
_FOLD_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of a service's processes since they began.

    Attributes:
        parent: Of the process that serves.
        workers: Of the processes that read media.
    """

    parent: float
    workers: float

    @property
    def total(self) -> float:
        """Of all of them."""
        return self.parent + self.workers

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        """What was spent since `earlier`."""
        return Cpu(self.parent - earlier.parent, self.workers - earlier.workers)


class Service:
    """A service that runs in processes of its own.

    Attributes:
        target: ``HOST:PORT`` of its API.
    """

    def __init__(self, process: psutil.Process, target: str, metrics: str) -> None:
        """Describe a service that answers."""
        self._process = process
        self._metrics = metrics
        self.target = target

    def idle(self, seconds: float) -> float:
        """CPU seconds that it spends in each second while nobody asks it anything."""
        start, before = time.monotonic(), self.cpu()
        time.sleep(seconds)
        return (self.cpu() - before).total / (time.monotonic() - start)

    def cpu(self) -> Cpu:
        """What it has cost so far; the kernel counts in ticks of 10 ms, so measure many calls at once."""
        mine = self._process.cpu_times()
        workers = [worker.cpu_times() for worker in self._process.children(recursive=True)]
        return Cpu(mine.user + mine.system, sum(times.user + times.system for times in workers))

    def resident_bytes(self) -> Mapping[str, int]:
        """Memory that the serving process and, together, its workers hold."""
        workers = sum(worker.memory_info().rss for worker in self._process.children(recursive=True))
        return {"parent": int(self._process.memory_info().rss), "workers": int(workers)}

    def stage_seconds(self) -> dict[str, float]:
        """Seconds that each stage of the service has taken so far, by its own metrics."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics") as answer:
            text = answer.read().decode()
        return {
            sample.labels["stage"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "copyhound_stage_seconds_sum"
        }


@contextmanager
def service(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Run a service on a folder and a free loopback port; leaving stops it.

    Args:
        folder: Its data folder; its log goes beside it.
        settings: More settings, by the names of their environment variables.

    Raises:
        RuntimeError: If it does not start.
    """
    metrics = f"127.0.0.1:{_free_port()}"
    command = service_command(
        *("serve", "--data", str(folder), "--listen", "127.0.0.1:0"),
        *("--metrics", metrics, "--allow-anonymous", "--json-logs"),
    )
    environment = {**service_environment(), **(settings or {})}
    log = folder.with_name(f"{folder.name}.log")
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            if process.stdout is None:
                raise RuntimeError("the service's output is not read")
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError(f"the service did not start: {log.read_text(errors='replace')[-2000:]}")
            yield Service(psutil.Process(process.pid), line.removeprefix("listening on ").strip(), metrics)
        finally:
            process.terminate()
            process.wait()


def wait_until_folded(client: copyhound.Client) -> None:
    """Wait until the snapshots hold everything."""
    end = time.monotonic() + _FOLD_SECONDS
    while any(scheme.delta_count for scheme in client.index_state().schemes):
        if time.monotonic() > end:
            raise SystemExit(f"the service has not folded within {_FOLD_SECONDS} seconds")
        time.sleep(0.5)


def keep_memory() -> None:
    """Let this process keep freed memory, as the service's workers do: both sides on equal terms.

    Without it, glibc fetches the memory of each picture from the system anew.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_TRIM_THRESHOLD, 64 * 1024 * 1024)
        library.mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Bound:
    """What was asked of a figure, and the figure.

    Attributes:
        asked: In words.
        measured: The figure.
        met: Whether it is good enough.
    """

    asked: str
    measured: float
    met: bool

    @classmethod
    def at_most(cls, limit: float, what: str, measured: float) -> "Bound":
        """The figure must not be larger."""
        return cls(f"{what} ≤ {limit:g}", measured, measured <= limit)

    @classmethod
    def at_least(cls, limit: float, what: str, measured: float) -> "Bound":
        """The figure must not be smaller."""
        return cls(f"{what} ≥ {limit:g}", measured, measured >= limit)


def options_parser(documentation: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=(documentation or "").split("\n", 1)[0])
    parser.add_argument("--smoke", action="store_true", help="little data, seconds; no bound is checked")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the results")
    return parser


def finish(options: argparse.Namespace, figures: Mapping[str, Any], bounds: Sequence[Bound]) -> int:
    """Print what was measured, write it where `--json` says, and return the exit status.

    Returns:
        1 if a bound is missed, except with `--smoke`: its data are too small to tell.
    """
    _print(figures)
    for bound in bounds:
        print(f"{'met' if bound.met else 'MISSED':8} {bound.asked}: {bound.measured:.3g}")
    if options.json:
        result = {
            "about": {
                "machine": platform.machine(),
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
            },
            "smoke": options.smoke,
            "figures": figures,
            "bounds": [asdict(bound) for bound in bounds],
        }
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(not options.smoke and not all(bound.met for bound in bounds))


def _print(figures: Mapping[str, Any], depth: int = 0) -> None:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            print(f"{'  ' * depth}{name}")
            _print(value, depth + 1)
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            print(f"{'  ' * depth}{name:{36 - 2 * depth}} {shown}")
