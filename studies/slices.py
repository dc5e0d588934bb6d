"""A slice of a study: all variants of one scene and seed, trained by branching, and scored."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.compute.gsplat_build import training_device
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.stages.grounding.stage import ground
from gradiseg_core.stages.metrics.stage import evaluate
from gradiseg_core.stages.rendering.stage import render_views
from gradiseg_core.stages.training.data import load_training_data
from gradiseg_core.stages.training.stage import save_run
from studies.branches import Branch, fingerprint, train_branches
from studies.runs import headline

logger = logging.getLogger(__name__)


def run_branches(
    scene_dir: Path,
    colmap_dir: Path,
    tracking_dir: Path,
    out: Path,
    branches: list[Branch],
    *,
    seed: int,
    render: RenderConfig,
    grounding: GroundingConfig,
    metrics: MetricsConfig,
    finished: Path,
    stamp: str,
    threads: int,
) -> None:
    """Train and score variants; keep their headline scores, and nothing else of them.

    Args:
        scene_dir: Output of stage 1.
        colmap_dir: Output of stage 2.
        tracking_dir: Output of stage 4.
        out: JSON file to write, a list of runs as in ``runs.json``.
        branches: The variants.
        seed: Of all randomness.
        render: How test views are rendered.
        grounding: How prompts become masks; backends without weights.
        metrics: How to score.
        finished: JSON lines of what is scored already; a killed job goes on from it. It survives
            the job, so that a variant more trains that one alone.
        stamp: What, beside the scene and the settings, a score in ``finished`` must have been made
            with: the code.
        threads: CPU threads.

    Raises:
        InputError: If grounding or metrics need checkpoints.
        GradisegError: As the stages do.
    """
    wanted = {**grounding.weights(), **metrics.weights()}
    if wanted:
        raise InputError(
            f"studies by branches score without checkpoints, and {', '.join(wanted)} would be "
            "needed: set grounding.backend to manual or colour_words and metrics.lpips to false, "
            "or run the variants one by one (target `tables`)"
        )
    set_threads(threads)
    device = training_device(branches[0].config.device, "train.device")
    rows = _read(finished)
    shared = [
        load_training_data(scene_dir, colmap_dir, tracking_dir, branches[0].config).fingerprint(),
        *(section.model_dump(mode="json") for section in (render, grounding, metrics)),
        seed,
        stamp,
    ]
    keys = {branch.name: _digest([*shared, fingerprint(branch)]) for branch in branches}
    missing = [branch for branch in branches if keys[branch.name] not in rows]

    def load(config: TrainConfig) -> Any:
        return load_training_data(scene_dir, colmap_dir, tracking_dir, config)

    def score(branch: Branch, trainer: Trainer) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save_run(trainer, folder / "train", branch.name)
            dirs = (scene_dir, colmap_dir)
            render_views(*dirs, folder / "train", folder / "render", render, threads=threads)
            ground(
                *dirs, tracking_dir, folder / "train", folder / "render", folder / "masks",
                grounding,
            )  # fmt: skip
            scores = evaluate(
                *dirs, folder / "train", folder / "render", folder / "masks", folder / "metrics",
                metrics,
            )  # fmt: skip
        return headline(scores)

    for branch, trainer in train_branches(load, missing, seed, device):
        row = score(branch, trainer)
        # A scene without exact IDs has no score of objects.
        logger.info("%s: object mIoU %s, PSNR %s", branch.name, row["object_miou"], row["psnr"])
        rows[keys[branch.name]] = row
        finished.parent.mkdir(parents=True, exist_ok=True)
        with finished.open("a") as file:
            # A line of its own, also after one that a kill has cut.
            file.write("\n" + json.dumps([keys[branch.name], row]))
    lines = [json.dumps(rows[keys[branch.name]] | {"variant": branch.name}) for branch in branches]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read(finished: Path) -> dict[str, Any]:
    """Return what is scored already, by fingerprint; a line that was cut by a kill is left out."""
    rows = {}
    for line in finished.read_text().split("\n") if finished.is_file() else []:
        if not line:
            continue
        try:
            key, row = json.loads(line)
        except json.JSONDecodeError:
            logger.warning("%s: a line was cut, so its variant is trained again", finished)
            continue
        rows[key] = row
    return rows
