"""The balls of :mod:`tests.synthetic` as a finished training, for tests of the stages after it.

The Gaussians are those that the photographs were rendered from, so every score has a known best.
Tracked IDs differ from exact ones (:data:`TRACKED`), as they do in life.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.masks import write_mask
from gradiseg_core.files.trained import save_trained
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from tests import synthetic

PROMPTS = {"red ball": 1, "green ball": 2, "blue ball": 3}
"""Prompt -> exact ID."""

TRACKED = np.array([0, 3, 1, 5])
"""Exact ID -> tracked ID."""

NUM_CLASSES = 8


@dataclass(frozen=True)
class Folders:
    scene: Path
    colmap: Path
    tracking: Path
    train: Path
    render: Path
    grounding: Path
    metrics: Path


def make(
    root: Path, *, views: int = 8, width: int = 64, height: int = 48, mixed: bool = False
) -> Folders:
    """Write stages 1 to 5 below ``root``; two of eight views are test views, with masks."""
    scene, colmap, tracking = synthetic.write_scene(
        root, views=views, width=width, height=height, mixed=mixed
    )
    run = root / "baseline" / "seed0"
    folders = Folders(
        scene, colmap, tracking, run / "train", run / "render", run / "grounding", run / "metrics"
    )
    for path in (tracking / "ids").glob("*.png"):
        write_id_map(path, TRACKED[read_id_map(path)])
    _annotate(scene)
    write_trained(folders.train)
    return folders


def _annotate(scene: Path) -> None:
    manifest = json.loads((scene / "scene.json").read_text())
    for view in manifest["views"]:
        if view["split"] == "test":
            ids = read_id_map(scene / "gt_ids" / f"{view['name'][:-4]}.png")
            for prompt, gt_id in PROMPTS.items():
                folder = scene / "test_mask" / str(view["test_index"])
                write_mask(folder / f"{prompt}.png", ids == gt_id)
    (scene / "ground_truth.json").write_text(
        json.dumps({"prompts": list(PROMPTS), "gt_id_of_prompt": PROMPTS, "cameras": []})
    )
    manifest["prompts"] = list(PROMPTS)
    manifest["has"] |= {"test_mask": True, "ground_truth": True}
    (scene / "scene.json").write_text(json.dumps(manifest))


def write_trained(train_dir: Path) -> None:
    """Write what stage `train` would."""
    points, owner = synthetic.balls()
    shade = np.random.default_rng(1).uniform(0.8, 1.2, (len(points), 1))
    rgb = np.clip(synthetic.COLORS[owner] * shade, 0, 1)
    count = len(points)
    values = {
        "means": torch.tensor(points),
        "quats": torch.eye(4)[[0] * count],
        "scales": torch.full((count, 3), float(np.log(0.06))),
        "opacities": torch.logit(torch.full((count,), 0.95)),
        "sh0": torch.tensor((rgb - 0.5) / 0.28209479177387814)[:, None],
        "shN": torch.zeros(count, 15, 3),
        "identities": torch.eye(16)[TRACKED[owner]],
    }
    classifier = IdentityClassifier(NUM_CLASSES, 16)
    with torch.no_grad():
        classifier.weight.copy_(12.0 * torch.eye(16)[:NUM_CLASSES])
        classifier.bias.zero_()
    metadata = {
        "variant": "baseline",
        "seed": 0,
        "iterations": 0,
        "num_classes": NUM_CLASSES,
        "sh_degree": 0,
        "background": "black",
        "longest_side": None,
        "downsample": None,
    }
    save_trained(
        train_dir, {key: value.float() for key, value in values.items()}, classifier, metadata
    )
