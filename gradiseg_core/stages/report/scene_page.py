"""Write ``report.html``: a scene's results on one page that opens anywhere, offline."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from gradiseg_core import plot_style as style
from gradiseg_core.files.html import Html, element, file_url, image, items, table
from gradiseg_core.files.manifest import SceneManifest, said_sizes
from gradiseg_core.files.names import FILE_NAME as NAMES
from gradiseg_core.stages.report.cautions import cautions
from gradiseg_core.stages.report.comparing import compare
from gradiseg_core.stages.report.layout import STAGES
from gradiseg_core.stages.report.timeline import timeline
from gradiseg_core.stages.report.timing import duration, read_benchmark

logger = logging.getLogger(__name__)

_WEB = Path(__file__).resolve().parent / "web"
_STYLE, _SCRIPT = "report.css", "report.js"

#: Page of stage ``colmap``, beside the report; there is none where all photographs are used.
_PHOTOGRAPHS = "logs/photographs.html"
#: Scores of the table: key in ``metrics.json``, header, factor, digits.
_SCORES = (
    ("miou", "mIoU of prompts, %", 100, 1),
    ("mbiou", "mBIoU of prompts, %", 100, 1),
    ("object_miou", "mIoU of objects, %", 100, 1),
    ("object_mbiou", "mBIoU of objects, %", 100, 1),
    ("psnr", "PSNR, dB", 1, 2),
    ("ssim", "SSIM", 1, 3),
    ("lpips", "LPIPS", 1, 3),
)
#: Nothing is fetched: pictures are in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_MACHINE = ("platform", "processor", "cpu_count", "gpu", "python", "torch", "gsplat", "gradiseg")


@dataclass(frozen=True)
class Sources:
    """What a page is made from.

    Attributes:
        scene: Scene folder.
        colmap: Undistorted photographs, cameras.
        tracking: ID maps and pictures of objects.
        renders: Renderings of the first seed, one folder for each variant.
        groundings: IDs of prompts, likewise.
        trainings: Every training.
        metrics: Every ``metrics.json``.
        curves: Picture of the training curves.
        quality: Scores of the association; None without exact IDs.
    """

    scene: Path
    colmap: Path
    tracking: Path
    renders: Sequence[Path]
    groundings: Sequence[Path]
    trainings: Sequence[Path]
    metrics: Sequence[Path]
    curves: Path
    quality: Path | None = None


def write_scene_report(sources: Sources, out: Path) -> None:
    """Write the page of a scene.

    Args:
        sources: What it is made from. Times come from the benchmark files beside it.
        out: The file.
    """
    manifest = SceneManifest.load(sources.scene)
    runs = [json.loads(path.read_text()) for path in sources.metrics]
    sliders, zooms, pictures = compare(sources.scene, sources.colmap, list(sources.renders))
    groundings = {_name(path.parent): path for path in sources.groundings}
    warned: list[object] = [
        *cautions(
            manifest.unused, sources.colmap, sources.tracking, groundings, runs, sources.quality
        )
    ]
    page = out.parent / _PHOTOGRAPHS
    if page.is_file():
        text = "photographs that take no part, and why"
        warned.append(element("a", text, href=_PHOTOGRAPHS))
    names = _names(sources.groundings)
    stems = [view.stem for view in manifest.train_views]
    sections = [
        ("Warnings", items(warned) if warned else element("p", "None.")),
        ("Truth and ours", sliders),
        ("Boundaries", zooms),
        ("Scores", _scores(runs)),
        ("Objects in the training views", timeline(sources.tracking, stems, names)),
        ("Training", image(file_url(sources.curves), "training curves", klass="plot")),
        ("What ran", _what_ran(out.parent, sources.trainings)),
    ]
    body = "".join(element("section", element("h2", title), content) for title, content in sections)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_page(manifest, body, pictures), encoding="utf-8")
    logger.info("%s: %.1f MB, %d warnings", out, out.stat().st_size / 1e6, len(warned))


def _page(manifest: SceneManifest, body: str, pictures: list[dict[str, Any]]) -> str:
    prompts = len(manifest.prompts)
    asked = f", {prompts} prompt{'' if prompts == 1 else 's'}" if prompts else ""
    about = (
        f"{len(manifest.train_views)} training and {len(manifest.test_views)} held-out photographs "
        f"of {said_sizes(manifest)} px{asked}. Source: {manifest.source}."
    )
    data = json.dumps(pictures).replace("</", "<\\/")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            element("title", f"{manifest.name}: GradiSeg"),
            f"<style>{(_WEB / _STYLE).read_text(encoding='utf-8')}</style></head><body>",
            element("header", element("h1", f"Scene {manifest.name}"), element("p", about)),
            f"<main>{body}</main>",
            f'<script type="application/json" id="pictures">{data}</script>',
            f"<script>{(_WEB / _SCRIPT).read_text(encoding='utf-8')}</script></body></html>",
            "",
        ]
    )


def _name(run: Path) -> str:
    """Return the name of a run, from its folder ``<variant>/seed<n>``."""
    return f"{run.parent.name}, {run.name.replace('seed', 'seed ')}"


def _names(groundings: Sequence[Path]) -> dict[int, str]:
    """Return what IDs are called in the last variant, by prompts."""
    for folder in reversed(groundings):
        if (folder / NAMES).is_file():
            objects = json.loads((folder / NAMES).read_text())["objects"]
            return {entry["id"]: entry["name"] for entry in objects if entry["name"]}
    return {}


def _scores(runs: Sequence[Mapping[str, Any]]) -> Html:
    """Return the table of scores: means over seeds, with their deviation."""
    shown = [part for part in _SCORES if any(run["summary"][part[0]] is not None for run in runs)]
    rows = []
    for variant in style.order({run["variant"] for run in runs}):
        own = [run for run in runs if run["variant"] == variant]
        cells = [_cell([run["summary"][key] for run in own], f, d) for key, _, f, d in shown]
        count = _cell([run["num_gaussians"] for run in own], 1, 0)
        rows.append([style.label(variant), *cells, count])
    why = {
        f"No {header.partition(',')[0]}: {run['not_available'][key]}."
        for key, header, _, _ in _SCORES
        for run in runs
        if run["summary"][key] is None and key in run["not_available"]
    }
    note = f"Aggregation {runs[0]['aggregation']}" if runs else ""
    if any(run["summary"]["miou"] is not None for run in runs):
        note += f"; prompts grounded by {runs[0]['grounding']}"
    note += "." if runs else ""
    seeds = len({run["seed"] for run in runs})
    if seeds > 1:
        note += f" Mean and standard deviation of {seeds} seeds."
    head = ["variant", *(header for _, header, _, _ in shown), "Gaussians"]
    lines = [note, "Published numbers stand beside ours in tables/.", *sorted(why)]
    return Html(table(head, rows) + element("p", " ".join(lines), klass="note"))


def _cell(values: Sequence[float | None], factor: float, digits: int) -> str:
    numbers = [factor * value for value in values if value is not None]
    if not numbers:
        return "-"
    spread = f" ± {stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{mean(numbers):.{digits}f}{spread}"


def _what_ran(folder: Path, trainings: Sequence[Path]) -> Html:
    """Return the table of stages with their times, and the machine of the trainings."""
    files = [path for path in folder.glob("benchmarks/*.tsv") if path.stem != "scene_report"]
    for training in trainings:
        files += training.parent.glob("benchmarks/*.tsv")
    order = [*STAGES["scene"], *STAGES["run"]]
    stages: dict[str, list[Path]] = {stage: [] for stage in order}
    for path in sorted(files):
        stages.setdefault(path.stem, []).append(path)
    rows = []
    for stage, paths in stages.items():
        found = [one for path in paths if (one := read_benchmark(path)) is not None]
        if not found:
            continue
        memory = max((one.megabytes for one in found if one.megabytes is not None), default=None)
        rows.append(
            [
                stage,
                len(found),
                duration(sum(one.seconds for one in found)),
                duration(max(one.seconds for one in found)),
                "-" if memory is None else f"{memory / 1000:.2f} GB",
            ]
        )
    timed = table(["stage", "jobs", "time of all", "of the longest", "most memory"], rows)
    return Html(timed + items(_machines(trainings)))


def _machines(trainings: Sequence[Path]) -> list[str]:
    """Return what the trainings ran on, one line for each machine."""
    found = []
    for training in trainings:
        path = training / "versions.json"
        facts = json.loads(path.read_text()) if path.is_file() else {}
        found.append(", ".join(f"{key} {facts[key]}" for key in _MACHINE if facts.get(key)))
    return [f"trained on: {line}" for line in dict.fromkeys(found) if line]
