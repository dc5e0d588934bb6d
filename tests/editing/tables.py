"""A box of red Gaussians on a table whose colour changes along x, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gradiseg_core.cameras import Camera, Frame
from gradiseg_core.editing.run import Run
from gradiseg_core.editing.scene import Scene
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.gaussians import SH_C0
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from tests.synthetic import ring_of_cameras

HALF, TOP = 0.3, 0.5


def table_colour(points: np.ndarray) -> np.ndarray:
    x = points[:, :1]
    return np.concatenate([0.5 + 0.2 * x, 0.45 - 0.15 * x, 0.3 + 0 * x], axis=1)


def make() -> tuple[Scene, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    grid = np.arange(-1.2, 1.21, 0.06)
    x, y = np.meshgrid(grid, grid)
    table = np.c_[x.ravel(), y.ravel(), np.zeros(x.size)]
    below = (np.abs(table[:, :2]) < HALF - 0.05).all(axis=1)
    sides = np.arange(-HALF, HALF + 0.01, 0.06)
    u, v = (array.ravel() for array in np.meshgrid(sides, np.arange(0.03, TOP, 0.06)))
    walls = [np.c_[s * HALF + 0 * u, u, v] for s in (-1, 1)]
    walls += [np.c_[u, s * HALF + 0 * u, v] for s in (-1, 1)]
    u, v = (array.ravel() for array in np.meshgrid(sides, sides))
    box = np.concatenate([*walls, np.c_[u, v, np.full(u.size, TOP)]])
    halo = np.c_[generator.uniform(-0.25, 0.25, 20), np.full(20, -HALF - 0.01), np.full(20, 0.25)]
    inside = generator.uniform(-0.15, 0.15, (30, 3)) + np.array([0, 0, 0.25])
    points = np.concatenate([table, box, halo, inside])
    kind = np.repeat(
        ["table", "box", "halo", "inside"], [len(table), len(box), len(halo), len(inside)]
    )
    kind[: len(table)][below] = "junk"
    colour = table_colour(points)
    colour[kind == "box"] = colour[kind == "halo"] = (0.9, 0.1, 0.1)
    colour[(kind == "junk") | (kind == "inside")] = 0.05
    opacity = np.where(kind == "halo", 0.3, 0.95)
    scene = scene_of(
        points,
        colour,
        np.where(kind == "box", 1, 0),
        0.035,
        torch.logit(torch.tensor(opacity)),
        ring_of_cameras(8, 96, 72),
    )
    return scene, {name: kind == name for name in ("table", "box", "halo", "inside", "junk")}


def scene_of(
    points: np.ndarray,
    colour: np.ndarray,
    ids: np.ndarray,
    scales: np.ndarray | float,
    opacities: torch.Tensor | float,
    cameras: Sequence[Camera],
    **known: object,
) -> Scene:
    """A scene of Gaussians whose IDs are certain, as if it had been trained.

    Args:
        points: Centres, [N, 3].
        colour: From every side, 0 to 1, [N, 3].
        ids: Below 4, [N].
        scales: Standard deviations, [N, 3], or one for all.
        opacities: Logits, [N], or one for all.
        cameras: Of the training views.
        known: Attributes of the scene that it would find by itself.
    """
    count = len(points)
    encodings = torch.zeros(count, 16)
    encodings[torch.arange(count), torch.tensor(ids).long()] = 1.0
    trained = TrainedScene(
        means=torch.tensor(points).float(),
        quats=torch.eye(4)[[0] * count],
        scales=torch.tensor(np.broadcast_to(np.log(scales), (count, 3)).copy()).float(),
        opacities=torch.as_tensor(opacities).float().expand(count).clone(),
        sh0=torch.tensor((colour - 0.5) / SH_C0).float()[:, None],
        shN=torch.zeros(count, 15, 3),
        identities=encodings,
        classifier=IdentityClassifier(4, 16),
        metadata={"sh_degree": 0, "background": "black"},
    )
    with torch.no_grad():
        trained.classifier.weight.copy_(12.0 * torch.eye(16)[:4])
        trained.classifier.bias.zero_()
    scene = Scene(trained, Run(Path(), Path(), None), Frame())
    views = {camera.name: camera for camera in cameras}
    scene.__dict__.update(cameras=views, splits=dict.fromkeys(views, "train"), **known)
    return scene
