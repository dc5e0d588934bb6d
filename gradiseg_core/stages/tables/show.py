"""What `gradiseg show` prints: the tables of a results folder, and where its pictures are."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from gradiseg_core import programs
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tables.stage import terminal


def describe(results: Path) -> str:
    """Return the tables of all runs below a folder and the paths worth opening.

    Args:
        results: Folder of results, of a scene, or of one run, also a copy that lies elsewhere.

    Raises:
        InputError: If there is no finished run.
    """
    below = ("*/*/seed*/", "*/seed*/", "seed*/", "")
    found = (sorted(results.glob(f"{place}metrics/metrics.json")) for place in below)
    metrics = next((paths for paths in found if paths), [])
    if not metrics:
        raise InputError(
            f"no finished run below {results}: `{_called('run')} <photographs or configuration>` "
            "makes one; or name the folder that `results` in the configuration names"
        )
    lines = [terminal(metrics), "Where to look"]
    runs = [path.parents[1] for path in metrics]
    inside = [run for run in runs if run.resolve().name.startswith("seed")]
    scenes = [Path(os.path.normpath(run / ".." / "..")) for run in inside]
    for scene in dict.fromkeys(scenes):
        if (scene / "report.html").is_file():
            lines.append(f"  {_name(scene)} on one page: {scene / 'report.html'}")
        surface = scene / "geometry" / "overview.png"
        if surface.is_file():
            lines.append(f"  {_name(scene)}, its surface and objects: {surface}")
    for path in metrics:
        run = json.loads(path.read_text())
        pictures = path.parents[1] / "render" / "side_by_side"
        name = f"{run['scene']}, {run['variant']}, seed {run['seed']}"
        lines.append(f"  {name}: {pictures}")
        page = path.parents[1] / "view.html"
        if page.is_file():
            lines.append(f"  {name}, in 3D: {page}")
    if (results / "tables").is_dir():
        lines.append(f"  tables as Markdown, LaTeX, CSV: {results / 'tables'}")
    if Path("Snakefile").is_file() and Path("config.yaml").is_file():  # elsewhere it needs both
        report = shlex.join([*programs.snakemake(), "--report", "report.html"])
        lines.append(f"  all scenes in one file: {report}")
    return "\n".join(lines)


def _name(scene: Path) -> str:
    return scene.resolve().name


def _called(*arguments: str) -> str:
    return shlex.join([*programs.gradiseg(), *arguments])
