"""Measure the CPU core against what it replaces: ``python benchmarks/cpu.py``.

Collects the parts of ``benchmarks/cpu_parts/``, runs each part's codes in turns in this one
process, and writes ``cpu.json`` and ``cpu.md`` into ``benchmarks/results/`` after each part. Ratios
carry over between machines roughly, times do not; nothing here is a test.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


from benchmarks import cpu_parts, timing  # noqa: E402
from gradiseg_core.compute.cpu_runtime import set_threads  # noqa: E402


def collect(patterns: list[str], *, quick: bool) -> list[timing.Part]:
    """Return the parts whose names contain one of the patterns (all without patterns).

    Raises:
        SystemExit: If nothing matches; the message lists the names.
    """
    parts: list[timing.Part] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(cpu_parts.__path__)):
        parts += importlib.import_module(f"benchmarks.cpu_parts.{module}").PARTS
    chosen = [
        part
        for part in parts
        if (not quick or part.quick) and (not patterns or any(p in part.name for p in patterns))
    ]
    if not chosen:
        names = "\n  ".join(part.name for part in parts)
        raise SystemExit(f"no part matches {patterns}; there are:\n  {names}")
    return chosen


def check_packages(parts: list[timing.Part]) -> None:
    """Refuse to begin what cannot be finished.

    Raises:
        SystemExit: If a part needs a package that is not installed; the message says how to go on.
    """
    lacking = {
        part.name: missing
        for part in parts
        if (missing := [name for name in part.packages if find_spec(name) is None])
    }
    if lacking:
        lines = "".join(f"\n  {name}: {', '.join(missing)}" for name, missing in lacking.items())
        raise SystemExit(
            f"these parts need packages that are not installed:{lines}\n"
            "`make install-dev` installs all, `pip install -e '.[cuda]'` gsplat; or leave the "
            "parts out: --parts names those to run, --list shows all"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=[], help="substrings of the parts' names")
    parser.add_argument("--quick", action="store_true", help="short rounds, slow parts left out")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--list", action="store_true", help="print the parts' names and stop")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)

    parts = collect(options.parts, quick=options.quick)
    if options.list:
        print("\n".join(part.name for part in parts))
        return 0
    check_packages(parts)
    set_threads(options.threads)
    results: dict = {
        "command": " ".join(["python", "benchmarks/cpu.py", *given]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": timing.machine(),
        "parts": [],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    for part in parts:
        print(f"{part.name} ...", file=sys.stderr, flush=True)
        try:
            budget_s = 2.0 if options.quick else 10.0
            results["parts"].append(timing.measure(part, budget_s=budget_s))
        except Exception as error:  # one part must not cost the others
            failed[part.name] = f"{type(error).__name__}: {error}"
            print(f"{part.name}: {failed[part.name]}", file=sys.stderr, flush=True)
        # What was measured is kept whatever happens next.
        (options.out / "cpu.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "cpu.md").write_text(timing.table(results))
    print(timing.table(results))
    missed = [
        f"{record['name']}: {ratio['median']:.1f} x {name}, target {ratio['target']:g}"
        for record in results["parts"]
        for name, ratio in record["ratios"].items()
        if ratio["met"] is False
    ]
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if failed or (options.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
