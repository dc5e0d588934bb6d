"""How long jobs took, by Snakemake's benchmark files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Benchmark:
    """What a job needed.

    Attributes:
        seconds: How long it took.
        megabytes: The most memory that it held; None where it was not measured.
    """

    seconds: float
    megabytes: float | None


def read_benchmark(path: Path) -> Benchmark | None:
    """Read Snakemake's benchmark file; None where there is none, or it is not whole."""
    try:
        names, values = (line.split("\t") for line in path.read_text().splitlines()[:2])
        row = dict(zip(names, values, strict=False))
        seconds = float(row["s"])
    except (OSError, KeyError, ValueError):
        return None
    try:
        return Benchmark(seconds, float(row["max_rss"]))
    except (KeyError, ValueError):  # a job that was too short to be measured
        return Benchmark(seconds, None)


def duration(seconds: float) -> str:
    """Return a time span as people write it."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
