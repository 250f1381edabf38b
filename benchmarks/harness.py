"""Ways to do one job, run in turn: A B C A B C …, so that a load on the machine affects all of them.

A `Case` is one job with several `Way`s to do it. A way is opened once, tried once, and then run round after
round; each run returns a `Sample`. Ratios are computed within a round, so that they
hold on a machine whose speed changes. A way that cannot do the job is kept in the results, with the reason.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Budget",
    "Case",
    "Result",
    "Run",
    "Sample",
    "Way",
    "in_child",
    "machine_facts",
    "measure",
    "save",
    "timed",
]


class Sample(NamedTuple):
    """Result of one run."""

    value: float
    """In the unit of the case; smaller is better."""
    cpu: float | None = None
    """CPU time in the same unit, if it is a unit of time."""


Run = Callable[[], Sample]


@dataclass(frozen=True)
class Way:
    """One way to do the job."""

    name: str
    open: Callable[[], AbstractContextManager[Run]]
    """Does the untimed preparation, and yields the function to run."""
    max_rounds: int = 1_000
    """Fewer rounds for slow ways."""


@dataclass(frozen=True)
class Budget:
    """What the design asks of the first way of a case."""

    text: str
    """In words."""
    min_speed: float | None = None
    """Minimum speed relative to the second way."""
    also: Mapping[str, float] = field(default_factory=dict)
    """Minimum speed relative to other ways, by their names."""
    max_value: float | None = None
    """At most this, in the unit of the case."""
    max_excess: float | None = None
    """At most this more than the second way, in the unit of the case."""


@dataclass(frozen=True)
class Case:
    """One job. The first way is ours, the second is what it is compared with."""

    name: str
    title: str
    unit: str
    limit: str
    """The theoretical limit, and its reason."""
    ways: Sequence[Way]
    budget: Budget | None = None
    note: str = ""


@dataclass
class Result:
    """Results of one way of a case."""

    way: str
    values: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    """Relative speed of ours, in each round with both."""
    failure: str = ""
    """Reason for a missing result."""


def measure(case: Case, *, rounds: int) -> dict[str, Any]:
    """All ways of a case, run in turn; a dictionary that JSON can hold."""
    print(f"\n{case.title}", flush=True)
    results = [Result(way.name) for way in case.ways]
    with ExitStack() as stack:
        runs = [_open(way, result, stack) for way, result in zip(case.ways, results, strict=True)]
        for number in range(rounds):
            values: list[float | None] = []
            for way, result, run in zip(case.ways, results, runs, strict=True):
                values.append(_run(result, run) if run and number < way.max_rounds else None)
            ours, *others = values
            for result, value in zip(results[1:], others, strict=True):
                if ours and value is not None:
                    result.speeds.append(value / ours)
    for result in results:
        print(f"  {result.way:34}{_in_words(result, case.unit)}", flush=True)
    return {
        "name": case.name,
        "title": case.title,
        "unit": case.unit,
        "limit": case.limit,
        "note": case.note,
        "budget": asdict(case.budget) | {"met": _is_met(case.budget, results)} if case.budget else None,
        "results": [asdict(result) for result in results],
    }


def _open(way: Way, result: Result, stack: ExitStack) -> Run | None:
    try:
        run = stack.enter_context(way.open())
        run()  # the first time is not counted
    except Exception as error:  # noqa: BLE001 - any error of a peer is shown in the table
        reason = str(error).strip().splitlines() or [""]
        result.failure = f"{type(error).__name__}: {reason[0]:.160}"
        return None
    return run


def _run(result: Result, run: Run) -> float | None:
    try:
        sample = run()
    except Exception as error:  # noqa: BLE001 - as above
        result.failure = f"{type(error).__name__} in a later run: {error!s:.160}"
        return None
    result.values.append(sample.value)
    if sample.cpu is not None:
        result.cpu.append(sample.cpu)
    return sample.value


def _is_met(budget: Budget, results: Sequence[Result]) -> bool | None:
    """Whether ours is within its budget; None if it was not measured."""
    value, *references = (_median(result.values) for result in results)
    margins = [
        _median(result.speeds) - budget.also[result.way] for result in results if result.way in budget.also
    ]
    if budget.min_speed is not None:
        margins.append(_median(results[1].speeds) - budget.min_speed)
    if budget.max_value is not None:
        margins.append(budget.max_value - value)
    if budget.max_excess is not None:
        margins.append(budget.max_excess - (value - references[0]))
    return None if any(map(math.isnan, margins)) else min(margins) >= 0


def _median(values: Sequence[float]) -> float:
    """NaN without values."""
    return statistics.median(values) if values else math.nan


def _in_words(result: Result, unit: str) -> str:
    if not result.values:
        return result.failure or "not run"
    value = (
        f"{statistics.median(result.values):10.3f} {unit} ({min(result.values):.3f}-{max(result.values):.3f})"
    )
    return f"{value}  ours x {statistics.median(result.speeds):.2f}" if result.speeds else value


def timed(job: Callable[[], object], *, n: int = 1) -> Run:
    """A run that returns the milliseconds that `job` takes for each of its `n` parts."""

    def run() -> Sample:
        cpu, start = _cpu_seconds(), time.perf_counter()
        job()
        seconds = time.perf_counter() - start
        return Sample(1e3 * seconds / n, 1e3 * (_cpu_seconds() - cpu) / n)

    return run


def _cpu_seconds() -> float:
    """Of this process and of children that have ended."""
    return sum(os.times()[:4])


def in_child(function: Callable[..., Any], *args: Any, core: int | None = None, **settings: str) -> Any:
    """The result of `function(*args)` in a new process with `settings` in its environment.

    For costs of the first reader of a process, and for peak memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_call, function, args, core, settings).result()


def _call(
    function: Callable[..., Any], args: Sequence[Any], core: int | None, settings: dict[str, str]
) -> Any:
    os.environ.update(settings)
    if core is not None:
        os.sched_setaffinity(0, {core})
    return function(*args)


def peak_memory() -> float:
    """Peak memory of this process in MB."""
    status = Path("/proc/self/status").read_text()
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024 / 1e6


def reset_peak_memory() -> float:
    """Current memory of this process in MB; resets its peak."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def machine_facts(**more: str) -> dict[str, str]:
    """Facts about the machine and the software."""
    cpu = next((line[13:] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    names = (
        "camhd_access",
        "av",
        "numpy",
        "aiohttp",
        "imageio",
        "opencv-python-headless",
        "decord",
        "pycamhd",
        "obstore",
    )
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {cpu or 'unknown processor'}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in names),
        "ffmpeg": _first_line("ffmpeg", "-version"),
        "commit": _first_line("git", "rev-parse", "--short", "HEAD"),
        "load before": f"{os.getloadavg()[0]:.1f}",
        **more,
    }


def _lines(path: str) -> Iterator[str]:
    if Path(path).exists():
        yield from Path(path).read_text().splitlines()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _first_line(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError):
        return "not there"


def save(path: Path, facts: dict[str, str], case: dict[str, Any]) -> list[dict[str, Any]]:
    """Store a case in a file of results, replacing an earlier run; returns all cases of the file."""
    before = json.loads(path.read_text())["cases"] if path.exists() else []
    kept = [each for each in before if each["name"] != case["name"]]
    cases = sorted([*kept, case], key=lambda each: each["position"])
    path.write_text(json.dumps({"facts": facts, "cases": cases}, indent=1) + "\n")
    return cases
