"""Print the paper's tables of what has run so far, while the rest still runs or will never run.

Usage: ``python -m gradiseg_core.stages.tables.paper config/paper.yaml [...] [--out FOLDER]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gradiseg_core.config.layers import merge
from gradiseg_core.config.paper import paper_plan
from gradiseg_core.config.root import Settings, load
from gradiseg_core.errors import GradisegError
from gradiseg_core.stages.tables import writers
from gradiseg_core.stages.tables.paper.build import make_paper_tables, write_paper_tables


def finished(settings: Settings) -> Iterator[Path]:
    """Yield the scores that exist, of the runs that a configuration names."""
    for scene in paper_plan(settings).scenes:
        folder = Path(settings.root.results) / scene
        runs = [
            folder / variant / f"seed{seed}"
            for variant in settings.variants_of(scene)
            for seed in settings.seeds_of(scene)
        ]
        paths = [run / "metrics" for run in runs]
        if settings.uses(scene, "second_grounding"):
            paths += [run / "second_metrics" for run in runs]
        if settings.uses(scene, "tracking_2d"):
            paths.append(folder / "tracks_2d" / "metrics")
        yield from (path / "metrics.json" for path in paths if (path / "metrics.json").is_file())


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m gradiseg_core.stages.tables.paper")
    parser.add_argument("configfile", nargs="+", type=Path, help="as for snakemake --configfile")
    parser.add_argument("--out", type=Path, help="write the files there instead of printing")
    options = parser.parse_args(arguments)
    try:
        raw: dict[str, Any] = {}
        for path in options.configfile:
            raw = merge(raw, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        settings = load(raw)
        metrics, plan = list(finished(settings)), paper_plan(settings)
        if options.out is not None:
            write_paper_tables(metrics, options.out, plan)
        else:
            for tables in make_paper_tables(metrics, plan).values():
                print("\n".join(map(writers.text, tables)))
    except (GradisegError, OSError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
