"""The colour-only training that geometry starts from, and its renderings of depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.config.geometry import colour_only
from gradiseg_core.errors import InputError
from gradiseg_core.geometry.options import PrepareOptions

if TYPE_CHECKING:
    from gradiseg_core.splatting.trainer import Trainer
    from gradiseg_core.splatting.views import TrainingData

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Renderings:
    """What the trained Gaussians show in every training view.

    Attributes:
        cameras: Per view, at the size of the maps.
        depths: Per view [H, W] float32, along the optical axis; 0: nothing there.
        alphas: Per view [H, W] float32, opacity.
        colours: Per view [H, W, 3] float32, 0 to 1.
    """

    cameras: list[Camera]
    depths: list[NDArray[np.float32]]
    alphas: list[NDArray[np.float32]]
    colours: list[NDArray[np.float32]]


def prepare(
    colmap_dir: Path, names: Sequence[str], options: PrepareOptions, seed: int
) -> Renderings:
    """Train Gaussians from colour alone and render the training views.

    Runs on the CPU, with as many threads as are set. No mask is read.

    Args:
        colmap_dir: Undistorted images, cameras and sparse points.
        names: File names of the training views.
        options: Length and size.
        seed: Of all randomness.

    Raises:
        InputError: If no view has a camera.
        GradisegError: If training diverges.
    """
    return render_all(train_colours(colmap_dir, names, options, seed), options.depth)


def train_colours(
    colmap_dir: Path,
    names: Sequence[str],
    options: PrepareOptions,
    seed: int,
    device: torch.device = _CPU,
) -> Trainer:
    """Return the trainer at the end of a run from colour alone; as :func:`prepare`.

    Args:
        colmap_dir: Undistorted images, cameras and sparse points.
        names: File names of the training views.
        options: Length and size.
        seed: Of all randomness.
        device: Where the Gaussians live.
    """
    from gradiseg_core.progress import Progress
    from gradiseg_core.splatting.trainer import Trainer

    data = _colour_data(colmap_dir, names, options)
    config = colour_only(
        options.iterations, options.longest_side, options.max_gaussians, options.sh_degree
    )
    trainer = Trainer(data, config, seed, device=device)
    backgrounds = torch.Generator().manual_seed(seed)
    try:
        with Progress("training on colour alone", options.iterations, "it") as progress:
            while trainer.step < options.iterations:
                # Colour alone can be right through half-transparent surfaces in front of black;
                # behind them a colour that nobody can know discourages that (gsplat's
                # `random_bkgd`).
                trainer.background = torch.rand(3, generator=backgrounds).to(device)
                trainer.iterate()
                progress.advance()
        trainer.watch.check(trainer.step)
    finally:
        trainer.prefetcher.close()
    return trainer


@torch.no_grad()
def render_all(trainer: Trainer, depth: Literal["centres", "planes"]) -> Renderings:
    """Return depth, opacity and colour of all training views.

    Args:
        trainer: At the end of its run.
        depth: What is blended, depth of the Gaussians' centres or planes (:func:`depth_planes`).
    """
    return render_cameras(trainer, trainer.data.train.cameras, depth)


@torch.no_grad()
def render_cameras(
    trainer: Trainer, cameras: Sequence[Camera], depth: Literal["centres", "planes"]
) -> Renderings:
    """As :func:`render_all`, of any cameras, at the size to render; no photograph is read."""
    from gradiseg_core.progress import Progress

    rendered = []
    with Progress("rendering depth", len(cameras), "views") as progress:
        for camera in cameras:
            rendered.append(_render(trainer, camera, depth))
            progress.advance()
    depths, alphas, colours = (list(maps) for maps in zip(*rendered, strict=True))
    return Renderings(list(cameras), depths, alphas, colours)


def _render(
    trainer: Trainer, camera: Camera, kind: Literal["centres", "planes"]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return depth, opacity and colour of one view, as :class:`Renderings` has them."""
    params, gaussians = trainer.gaussians.params, trainer.gaussians
    viewmat = torch.from_numpy(camera.cam_from_world.astype(np.float32)).to(trainer.device)
    K = torch.from_numpy(camera.K.astype(np.float32)).to(trainer.device)
    channels: Tensor = params["identities"]
    if kind == "planes":  # in the channels of the identities, as many as they are
        planes = depth_planes(params["means"], params["quats"], gaussians.scales, viewmat)
        channels = torch.nn.functional.pad(planes, (0, channels.shape[1] - planes.shape[1]))
    rendering = trainer.rasterizer(
        *gaussians.drawn,
        channels,
        viewmat=viewmat,
        K=K,
        width=camera.width,
        height=camera.height,
        sh_degree=trainer.sh_degree,
        with_depth=kind == "centres",
    )
    alpha = rendering.alpha
    if kind == "centres":
        if rendering.depth is None:
            raise TypeError("the rasterizer returned no depth although it was asked for it")
        depth = rendering.depth
    else:
        u = (torch.arange(camera.width, device=K.device) + 0.5 - K[0, 2]) / K[0, 0]
        v = (torch.arange(camera.height, device=K.device) + 0.5 - K[1, 2]) / K[1, 1]
        at_axis, along_u, along_v = rendering.identity[..., :3].unbind(dim=-1)
        blended = at_axis + along_u * u[None, :] + along_v * v[:, None]
        depth = torch.where(alpha > 0, blended / alpha.clamp(min=1e-6), 0.0)
    colour = rendering.color.nan_to_num().clamp(0.0, 1.0)
    depth = depth.nan_to_num().clamp(min=0.0)
    return depth.cpu().numpy(), alpha.cpu().numpy(), colour.cpu().numpy()


def depth_planes(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4] wxyz
    scales: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4]
) -> Tensor:  # [N, 3]
    """Return the depth of every Gaussian over a view as a plane (a, b, c): a + b u + c v.

    (u, v, 1) is the ray of a pixel. A Gaussian with mean m and precision P in the camera is densest
    on a ray r at depth (r' P m) / (r' P r), whose derivative at its own centre is -z^2 P m / (m' P
    m). A plane can be blended channel by channel. Depth of the centres alone, which rasterizers
    blend, lies before the surface: of large Gaussians seen at a low angle, the near ones come
    first and cover pixels beyond their centres.

    Source: RaDe-GS (Zhang et al. 2024), Section 3.
    """
    rotation = viewmat[:3, :3]
    center = means @ rotation.T + viewmat[:3, 3]
    axes = rotation @ rotation_matrices(quats)  # [N, 3, 3], columns
    # Gaussians thinner than a hundredth of their size would overflow in float32.
    safe = torch.maximum(scales, 0.01 * scales.amax(dim=1, keepdim=True))
    in_axes = torch.einsum("nij,ni->nj", axes, center) / safe  # [N, 3]
    weighted = torch.einsum("nij,nj->ni", axes, in_axes / safe)  # P m
    length = in_axes.square().sum(dim=1, keepdim=True).clamp(min=1e-12)  # m' P m
    z = center[:, 2:]
    slopes = -z.square() * weighted[:, :2] / length
    uv = center[:, :2] / torch.where(z.abs() < 1e-6, 1e-6, z)
    return torch.cat([z - (slopes * uv).sum(dim=1, keepdim=True), slopes], dim=1)


def rotation_matrices(quats: Tensor) -> Tensor:
    """Return the [N, 3, 3] rotations of quaternions [N, 4] wxyz, of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _colour_data(colmap_dir: Path, names: Sequence[str], options: PrepareOptions) -> TrainingData:
    """Read photographs, cameras and points; every pixel's ID is 0."""
    from gradiseg_core.cameras import Frame
    from gradiseg_core.files.colmap import load_cameras, load_points
    from gradiseg_core.files.ignore import read_ignored
    from gradiseg_core.files.images import read_image
    from gradiseg_core.splatting.views import TrainingData, TrainingView, Views

    cameras = load_cameras(colmap_dir)
    known = [cameras[name] for name in names if name in cameras]
    if not known:
        raise InputError(f"none of the {len(names)} training views has a camera in {colmap_dir}")
    sizes = [training_size(c.width, c.height, options.longest_side, None) for c in known]
    small = [camera.resized(*size) for camera, size in zip(known, sizes, strict=True)]

    def load(index: int) -> TrainingView:
        camera = small[index]
        size = (camera.width, camera.height)
        image = read_image(colmap_dir / "images" / camera.name, size)
        ignored = read_ignored(colmap_dir, camera.stem, size)
        return TrainingView(
            camera,
            torch.from_numpy(image.copy()),
            torch.zeros(image.shape[:2], dtype=torch.int16),
            torch.from_numpy(camera.cam_from_world.astype(np.float32)),
            torch.from_numpy(camera.K.astype(np.float32)),
            torch.zeros(1, dtype=torch.int64),
            None if ignored is None else torch.from_numpy(ignored.copy()),
        )

    points, colors = load_points(colmap_dir)
    return TrainingData(
        train=Views(small, load, budget_bytes=2_000_000_000),
        test=Views([], load, 0),
        points=points,
        colors=colors,
        num_classes=2,
        frame=Frame.load(colmap_dir),
    )
