"""Times and peak memory on a device, and what the device could do at best."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median

import torch

from gradiseg_core.version import __version__

WARMUP = 3


@dataclass(frozen=True)
class Rates:
    """What the device did at best, measured in this run.

    Attributes:
        bytes_per_s: Of a copy on the device, read and written bytes both counted.
        flop_per_s: Of a float32 matrix product without tensor cores.
    """

    bytes_per_s: float
    flop_per_s: float


@dataclass(frozen=True)
class Limit:
    """The least that a task must move and compute, whatever the code.

    Attributes:
        bytes: Read and written in the device's memory.
        flop: Floating-point operations; a fused multiply-add counts two.
        note: How they were counted.
    """

    bytes: float
    flop: float = 0.0
    note: str = ""

    def ms(self, rates: Rates) -> float:
        """Return the least time, milliseconds."""
        return 1e3 * max(self.bytes / rates.bytes_per_s, self.flop / rates.flop_per_s)


@dataclass
class Record:
    """One measured code.

    Attributes:
        part: Task.
        scene: What it ran on.
        code: Whose code.
        ms: Median.
        best_ms: Least.
        runs: How many.
        peak_mb: Memory above what was there before; None where the device does not tell.
        total_mb: The same with what was there before, such as Gaussians and Adam's moments.
        limit_ms: Least time that the device allows; None where it was not counted.
        note: How the limit was counted, or what is special.
    """

    part: str
    scene: str
    code: str
    ms: float
    best_ms: float
    runs: int
    peak_mb: float | None = None
    limit_ms: float | None = None
    note: str = ""
    total_mb: float | None = None


@dataclass
class Results:
    """All records of a run."""

    device: torch.device
    rates: Rates
    seconds_each: float
    records: list[Record] = field(default_factory=list)

    def measure(
        self,
        part: str,
        scene: str,
        code: str,
        run: Callable[[], object],
        limit: Limit | None = None,
    ) -> Record:
        """Time one code and keep the record."""
        times, (before, peak) = measure(run, self.device, self.seconds_each)
        record = Record(
            part,
            scene,
            code,
            1e3 * median(times),
            1e3 * min(times),
            len(times),
            None if peak is None else (peak - before) / 1e6,
            None if limit is None else limit.ms(self.rates),
            "" if limit is None else limit.note,
            None if peak is None else peak / 1e6,
        )
        self.records.append(record)
        print(f"{part:24} {scene:22} {code:28} {record.ms:9.3f} ms", flush=True)
        return record

    def find(self, part: str, scene: str, code: str) -> Record | None:
        """Return a record, or None where it was not measured."""
        wanted = (part, scene, code)
        return next((r for r in self.records if (r.part, r.scene, r.code) == wanted), None)

    def as_dict(self, command: str) -> dict:
        """Return everything as plain data."""
        return {
            "command": command,
            "machine": machine(self.device),
            "rates": asdict(self.rates),
            "records": [asdict(record) for record in self.records],
        }


def wait(device: torch.device) -> None:
    """Wait until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    run: Callable[[], object], device: torch.device, seconds: float
) -> tuple[list[float], tuple[int, int | None]]:
    """Return seconds of each of at least three calls, and memory before them and at its peak.

    Calls are timed by events on the device, each with whatever it makes the host wait for. With 0
    seconds, one call is timed, for tests.
    """
    least = 3 if seconds else 1
    for _ in range(WARMUP if seconds else 1):
        run()
    wait(device)
    before, peak = 0, None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        wait(device)
        peak = torch.cuda.max_memory_allocated(device)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < least or (time.perf_counter() - start < seconds and len(times) < 200):
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            run()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last) / 1e3)
        else:
            begun = time.perf_counter()
            run()
            times.append(time.perf_counter() - begun)
    return times, (before, peak)


def device_rates(device: torch.device, *, quick: bool = False) -> Rates:
    """Measure what the device moves and computes at best."""
    count, side = (1 << 18, 256) if quick else (1 << 28, 8192)
    source = torch.empty(count, device=device)
    target = torch.empty_like(source)
    copies, _ = measure(lambda: target.copy_(source), device, 0.3)
    a = torch.rand(side, side, device=device)
    tensor_cores = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        products, _ = measure(lambda: a @ a, device, 0.3)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tensor_cores
    return Rates(2 * source.nbytes / min(copies), 2 * side**3 / min(products))


def machine(device: torch.device) -> dict:
    """Describe what the numbers depend on."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "gradiseg": __version__}
    for package in ("torch", "gsplat", "triton", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    found: dict = {"cores": os.cpu_count(), "versions": versions, "cuda": torch.version.cuda}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {
            "device": about.name,
            "memory_gb": about.total_memory / 1e9,
            "capability": f"{about.major}.{about.minor}",
            "processors": about.multi_processor_count,
        }
    else:
        found["device"] = f"CPU ({platform.machine()}), in place of a GPU"
    return found
