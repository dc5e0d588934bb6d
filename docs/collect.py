"""Keep the scores of finished runs as a result file: ``docs/results/<name>.json``.

Usage: ``python -m docs.collect RESULTS NAME --command COMMAND [--note NOTE] [--commit COMMIT]``,
RESULTS being the folder that ``results`` of the configuration named, or a study's file of runs in
its folder ``tables``; then ``make docs``. Commits that the runs name are named; else COMMIT is, or
the present one.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from pathlib import Path
from typing import Any

from docs.build import DOCS
from studies.checkout import commit
from studies.runs import headline


def machine() -> str:
    """Return the processor in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    wide = "with" if "avx512f" in found.get("flags", "") else "without"
    name = found.get("model name", "an unknown processor")
    return f"{os.cpu_count()} cores of {name}, {wide} AVX-512"


def collect(results: Path, name: str, about: dict[str, str]) -> Path:
    """Write the headline scores of all runs, a line each.

    Args:
        results: A results folder, or a file of runs that a study wrote.
        name: Of the result file.
        about: Where they are from; commits that the runs name replace its own.

    Raises:
        FileNotFoundError: If there is no finished run.
    """
    if results.is_file():
        runs = json.loads(results.read_text())["runs"]
    else:
        paths = sorted(results.glob("*/*/seed*/metrics/metrics.json"))
        runs = [_kept(json.loads(path.read_text())) for path in paths]
    if not runs:
        raise FileNotFoundError(f"no finished run below {results}")
    commits = {one for run in runs for one in run.pop("commit", "").split(", ") if one}
    if commits:
        about = {**about, "commit": ", ".join(sorted(commits))}
    lines = ",\n".join(f"  {json.dumps(run)}" for run in runs)
    out = DOCS / "results" / f"{name}.json"
    out.write_text(f'{{\n "about": {json.dumps(about)},\n "runs": [\n{lines}\n ]\n}}\n')
    return out


def _kept(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the headline scores, and labels scored at the rendering's size."""
    run = headline(metrics)
    for name in ("miou", "mbiou", "fine_mbiou"):
        score = metrics["objects"].get(f"render_{name}")
        run[f"render_{name}"] = None if score is None else round(score, 5)
    return run


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("name")
    parser.add_argument("--command", required=True)
    parser.add_argument("--note", default="")
    parser.add_argument("--commit", default="")
    options = parser.parse_args()
    about = {
        "command": options.command,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "commit": options.commit or commit(),
        "note": options.note,
    }
    print(collect(options.results, options.name, about))


if __name__ == "__main__":
    main()
