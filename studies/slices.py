"""A slice of a study: all variants of one scene and seed, trained by branching, and scored."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.compute.placement import training_device
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.trained import save_run
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import TrainingData
from gradiseg_core.stages.grounding.stage import ground
from gradiseg_core.stages.metrics.stage import evaluate
from gradiseg_core.stages.rendering.stage import render_views
from gradiseg_core.stages.training.data import load_training_data
from studies.branches import Branch, fingerprint, train_branches
from studies.runs import headline

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slice:
    """What all variants of a slice have in common.

    Attributes:
        scene_dir: Output of stage 1.
        colmap_dir: Output of stage 2.
        tracking_dir: Output of stage 4.
        seed: Seed of all randomness.
        render: How test views are rendered.
        grounding: How prompts become masks; backends without weights.
        metrics: How to score.
        stamp: Digest of the code that trains and scores.
    """

    scene_dir: Path
    colmap_dir: Path
    tracking_dir: Path
    seed: int
    render: RenderConfig
    grounding: GroundingConfig
    metrics: MetricsConfig
    stamp: str

    def refuse_weights(self) -> None:
        """Refuse a configuration whose scores need checkpoints.

        Raises:
            InputError: If grounding or metrics need any.
        """
        wanted = {**self.grounding.weights(), **self.metrics.weights()}
        if wanted:
            raise InputError(
                f"studies by branches score without checkpoints, and {', '.join(wanted)} would be "
                "needed: set grounding.backend to manual or colour_words and metrics.lpips to "
                "false, or run the variants one by one (target `tables`)"
            )

    def load(self, config: TrainConfig) -> TrainingData:
        """Read the scene for a configuration."""
        return load_training_data(self.scene_dir, self.colmap_dir, self.tracking_dir, config)

    def keys(self, branches: list[Branch]) -> dict[str, str]:
        """Return by variant a digest of everything that its scores depend on."""
        shared = [
            self.load(branches[0].config).fingerprint(),
            *(s.model_dump(mode="json") for s in (self.render, self.grounding, self.metrics)),
            self.seed,
            self.stamp,
        ]
        return {branch.name: _digest([*shared, fingerprint(branch)]) for branch in branches}

    def score(self, branch: Branch, trainer: Trainer, threads: int) -> dict[str, Any]:
        """Render, ground and score a trained variant; return its headline scores."""
        dirs = (self.scene_dir, self.colmap_dir)
        with tempfile.TemporaryDirectory() as name:
            train, render, masks, metrics = (
                Path(name, part) for part in ("train", "render", "masks", "metrics")
            )
            save_run(trainer, train, branch.name)
            render_views(*dirs, train, render, self.render, threads=threads)
            ground(*dirs, self.tracking_dir, train, render, masks, self.grounding)
            return headline(evaluate(*dirs, train, render, masks, metrics, self.metrics))


def run_branches(
    task: Slice, branches: list[Branch], out: Path, *, finished: Path, threads: int
) -> None:
    """Train and score variants; keep only their headline scores.

    Args:
        task: What the variants have in common.
        branches: The variants.
        out: JSON file to write, a list of runs as in ``runs.json``.
        finished: JSON lines of the scores so far. The file survives a killed job, which goes on
            from it; of variants that are added later only these are trained.
        threads: CPU threads.

    Raises:
        InputError: If grounding or metrics need checkpoints.
        GradisegError: As the stages do.
    """
    task.refuse_weights()
    set_threads(threads)
    device = training_device(branches[0].config.device, "train.device")
    rows, keys = _read(finished), task.keys(branches)
    missing = [branch for branch in branches if keys[branch.name] not in rows]
    for branch, trainer in train_branches(task.load, missing, task.seed, device):
        row = task.score(branch, trainer, threads)
        # A scene without exact IDs has no score of objects.
        logger.info("%s: object mIoU %s, PSNR %s", branch.name, row["object_miou"], row["psnr"])
        rows[keys[branch.name]] = row
        finished.parent.mkdir(parents=True, exist_ok=True)
        with finished.open("a") as file:
            # The line break comes first: a kill may have cut the last line.
            file.write("\n" + json.dumps([keys[branch.name], row]))
    lines = [json.dumps(rows[keys[branch.name]] | {"variant": branch.name}) for branch in branches]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read(finished: Path) -> dict[str, Any]:
    """Return the scores so far by fingerprint, without a line that a kill has cut."""
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
