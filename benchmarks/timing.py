"""Comparing codes by alternating them in one process.

On a shared machine the time of a run means little: a neighbour's load can double it. The ratio of
two codes that take turns within the same seconds is steadier, so that is what targets are stated
in. Medians are the headline; the ratio of minima is reported beside it as the figure of the
quietest moments.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import torch

from gradiseg_core.compute.cpu_runtime import get_threads

OURS = "ours"


@dataclass(frozen=True)
class Floor:
    """Least arithmetic that a part's task needs on this machine, whatever the code.

    Attributes:
        flop: Floating-point operations (a fused multiply-add counts two).
        note: How the number was counted.
    """

    flop: float
    note: str


@dataclass(frozen=True)
class Part:
    """One task that several codes solve.

    Attributes:
        name: Unique; ``--parts`` selects by substring of it.
        make: Builds the inputs and returns the codes by name, our own under "ours". A call of a
            code does one full run of the task; it must not keep state that makes later calls
            cheaper.
        targets: Least ratio, baseline's time over ours, by baseline's name. A baseline without
            a target is reported only.
        note: What was compared, for the table.
        floor: Counts the arithmetic; its share of our best time is reported.
        quick: Whether ``--quick`` runs it (leave out what takes a baseline over a second).
        max_rounds: Most alternating rounds.
        packages: Those that its codes import and that a plain installation may lack.
    """

    name: str
    make: Callable[[], dict[str, Callable[[], object]]]
    targets: dict[str, float] = field(default_factory=dict)
    note: str = ""
    floor: Callable[[], Floor] | None = None
    quick: bool = True
    max_rounds: int = 30
    packages: tuple[str, ...] = ()


def _sample(name: str, run: Callable[[], object], calls: int) -> float:
    """Return the mean seconds of a call over ``calls`` calls in a row.

    PyTorch has all threads for the baselines, and one beside our kernels, as in training. Ahead of
    the clock, Python collects its garbage, and a sample of several calls begins with an untimed
    one: right after gsplat's PyTorch reference, which works in gigabytes, the next call of ours
    spent up to 40 ms in the operating system. A loop of one code, as training is, does not.
    """
    threads = 1 if name == OURS else get_threads()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
        torch.ones(1 << 16).add_(1.0)  # starts them
    gc.collect()
    if calls > 1:
        run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def alternate(
    codes: dict[str, Callable[[], object]],
    *,
    budget_s: float,
    max_rounds: int,
    min_sample_s: float = 0.05,
) -> dict[str, list[float]]:
    """Time codes in turns: A B A B ...

    Every code runs twice before the first round: once to compile and fill caches, once to learn
    how many calls make a sample long enough for the clock.

    Args:
        codes: What to run, by name.
        budget_s: After this long no further round starts; at least three rounds run.
        max_rounds: Most rounds.
        min_sample_s: A sample repeats a short call until it lasts about this long.

    Returns:
        Seconds per call of every round, by name.
    """
    calls = {}
    for name, run in codes.items():
        run()
        calls[name] = max(1, min(100, int(min_sample_s / max(_sample(name, run, 1), 1e-9))))
    times: dict[str, list[float]] = {name: [] for name in codes}
    start = time.perf_counter()
    for done in range(max_rounds):
        if done >= 3 and time.perf_counter() - start > budget_s:
            break
        for name, run in codes.items():
            times[name].append(_sample(name, run, calls[name]))
    return times


def peak_flops() -> float:
    """Return attainable float32 operations a second with torch's threads: a matrix product's."""
    a = torch.rand(1024, 1024)
    best = min(alternate({"mm": lambda: a @ a}, budget_s=0.5, max_rounds=8)["mm"])
    return 2.0 * 1024**3 / best


def measure(part: Part, *, budget_s: float) -> dict:
    """Run one part and return its record: times, ratios, targets met, share of the floor."""
    codes = part.make()
    if OURS not in codes:
        raise ValueError(f"part {part.name!r} has no code named {OURS!r}: {sorted(codes)}")
    unknown = sorted(set(part.targets) - set(codes))
    if unknown:
        raise ValueError(f"part {part.name!r} sets targets for codes that it lacks: {unknown}")
    times = alternate(codes, budget_s=budget_s, max_rounds=part.max_rounds)
    ours = times[OURS]
    record: dict = {
        "name": part.name,
        "note": part.note,
        "rounds": len(ours),
        "ms": {
            name: {
                "median": 1e3 * median(values),
                "min": 1e3 * min(values),
                "max": 1e3 * max(values),
            }
            for name, values in times.items()
        },
        "ratios": {
            name: _ratio(values, ours, part.targets.get(name))
            for name, values in times.items()
            if name != OURS
        },
    }
    if part.floor is not None:
        floor = part.floor()
        floor_ms = 1e3 * floor.flop / peak_flops()
        record["floor"] = {
            "ms": floor_ms,
            "flop": floor.flop,
            "share": floor_ms / (1e3 * min(ours)),
            "note": floor.note,
        }
    return record


def _ratio(baseline: list[float], ours: list[float], target: float | None) -> dict:
    """Return ratios of medians, of minima, and the range over rounds; and the target's fate."""
    rounds = [b / o for b, o in zip(baseline, ours, strict=True)]
    ratio = median(baseline) / median(ours)
    return {
        "median": ratio,
        "of_minima": min(baseline) / min(ours),
        "lowest": min(rounds),
        "highest": max(rounds),
        "target": target,
        "met": None if target is None else ratio >= target,
    }


def machine() -> dict:
    """Describe what the numbers depend on: processor, threads, versions."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "numba", "llvmlite", "numpy", "scipy", "gsplat", "gradiseg"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": get_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "load_before": os.getloadavg()[0],
        "versions": versions,
    }


def _processor() -> str:
    """Return the processor's name as Linux reports it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(results: dict) -> str:
    """Return the results as a Markdown document."""
    about = results["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    lines = [
        "# CPU core: ratios of alternating runs",
        "",
        f"`{results['command']}`, {results['date']}. {about['processor']}, "
        f"{about['cores']} cores, {about['threads']} threads, {about['vectors']}, "
        f"load before {about['load_before']:.1f}. {versions}.",
        "",
        "Ratio: the baseline's median time over ours (lowest - highest over the rounds; that of "
        "minima). Times are of this run on this machine, for orientation only.",
        "",
        "| part | ours, ms | baseline | its ms | ratio | target | met | floor's share |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for record in results["parts"]:
        share = f"{record['floor']['share']:.0%}" if "floor" in record else ""
        ours = f"{record['ms'][OURS]['median']:.2f}"
        for name, ratio in record["ratios"].items() or [("", None)]:
            if ratio is None:
                lines.append(f"| {record['name']} | {ours} | | | | | | {share} |")
                continue
            target = "" if ratio["target"] is None else f"{ratio['target']:g}"
            met = {None: "", True: "yes", False: "**no**"}[ratio["met"]]
            lines.append(
                f"| {record['name']} | {ours} | {name} | {record['ms'][name]['median']:.2f} | "
                f"{ratio['median']:.1f} ({ratio['lowest']:.1f} - {ratio['highest']:.1f}; "
                f"{ratio['of_minima']:.1f}) | {target} | {met} | {share} |"
            )
    lines.append("")
    for record in results["parts"]:
        notes = [record["note"], record.get("floor", {}).get("note", "")]
        text = " Floor: ".join(note for note in notes if note)
        if text:
            lines.append(f"- **{record['name']}** ({record['rounds']} rounds): {text}")
    return "\n".join(lines) + "\n"
