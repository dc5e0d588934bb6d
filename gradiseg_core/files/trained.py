"""Files of a trained scene.

``point_cloud.ply`` has exactly 3DGS's properties, so that every viewer reads it. What they do
not know lies beside it: ``identities.safetensors`` (``identities`` [N, D] in the PLY's order,
``classifier.weight`` [C, D], ``classifier.bias`` [C]) and ``identities.json`` (metadata).

The PLY is in the units and axes of the user's model. Where training worked in another frame,
``frame.json`` lies beside it (:class:`.Frame`): its offset is to be added to the
PLY's positions, which float32 could not hold with it.
"""

from __future__ import annotations

import copy
import json
import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradiseg_core.cameras import FRAME_FILE, Frame
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.version import __version__

if TYPE_CHECKING:
    from gradiseg_core.splatting.trainer import Trainer

_NAMES = (
    ["x", "y", "z", "nx", "ny", "nz"]
    + [f"f_dc_{i}" for i in range(3)]
    + [f"f_rest_{i}" for i in range(45)]
    + ["opacity"]
    + [f"scale_{i}" for i in range(3)]
    + [f"rot_{i}" for i in range(4)]
)


@dataclass(frozen=True)
class TrainedScene:
    """A scene read back from its files.

    Attributes:
        means: [N, 3], in the training frame, as the cameras of
            :func:`gradiseg_core.files.colmap.load_cameras`.
        quats: [N, 4] wxyz.
        scales: [N, 3], log.
        opacities: [N], logit.
        sh0: [N, 1, 3].
        shN: [N, 15, 3].
        identities: [N, D].
        classifier: F, D -> C.
        metadata: Contents of ``identities.json``.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh0: Tensor
    shN: Tensor  # noqa: N815
    identities: Tensor
    classifier: IdentityClassifier
    metadata: dict[str, Any]

    def to(self, device: torch.device) -> TrainedScene:
        """Return the scene with all tensors on ``device``; the classifier itself moves."""
        tensors = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if field.name != "metadata"
        }
        return replace(self, **tensors)


def write_ply(path: Path, values: dict[str, Tensor]) -> None:
    """Write Gaussians as a binary little-endian 3DGS PLY.

    The format is a text header and rows of floats; the library that reads any PLY (plyfile) is
    GPL-licensed, so it checks this writer in the tests and is not needed at run time.

    Args:
        path: File to write.
        values: Parameters as stored (log scales, opacity logits). ``f_rest`` runs channel by
            channel, as 3DGS writes it.
    """
    count = values["means"].shape[0]
    table = torch.cat(
        [
            values["means"],
            torch.zeros(count, 3),
            values["sh0"].reshape(count, 3),
            values["shN"].transpose(1, 2).reshape(count, 45),
            values["opacities"][:, None],
            values["scales"],
            torch.nn.functional.normalize(values["quats"], dim=1),
        ],
        dim=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_header(count))
        file.write(np.ascontiguousarray(table.detach().cpu().numpy(), dtype="<f4").tobytes())


def _header(count: int) -> bytes:
    properties = "".join(f"property float {name}\n" for name in _NAMES)
    return (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{properties}end_header\n"
    ).encode("ascii")


def read_ply(path: Path) -> dict[str, Tensor]:
    """Read a PLY that :func:`write_ply`, or 3DGS at degree 3, wrote.

    Returns:
        All parameters but ``identities``, float32.

    Raises:
        InputError: If the file is missing, cut short, or has other properties than 3DGS writes.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no trained scene at {path}; run the train stage first") from error
    found = re.match(rb"ply\n(?:.*\n)*?element vertex (\d+)\n(?:.*\n)*?end_header\n", content)
    count = int(found.group(1)) if found else 0
    header = _header(count)
    if not content.startswith(header):
        raise InputError(
            f"{path} is not a binary 3DGS point cloud of degree 3; its properties must be "
            f"{', '.join(_NAMES[:9])}, ... in this order"
        )
    if len(content) != len(header) + 4 * len(_NAMES) * count:
        raise InputError(f"{path} is cut short; run the train stage again")
    rows = np.frombuffer(content, dtype="<f4", offset=len(header)).reshape(count, len(_NAMES))
    table = torch.from_numpy(rows.astype(np.float32))
    return {
        "means": table[:, 0:3].contiguous(),
        "sh0": table[:, 6:9].reshape(count, 1, 3).contiguous(),
        "shN": table[:, 9:54].reshape(count, 3, 15).transpose(1, 2).contiguous(),
        "opacities": table[:, 54].contiguous(),
        "scales": table[:, 55:58].contiguous(),
        "quats": table[:, 58:62].contiguous(),
    }


def save_trained(
    train_dir: Path,
    values: dict[str, Tensor],
    classifier: IdentityClassifier,
    metadata: dict[str, Any],
    frame: Frame = Frame(),  # noqa: B008  (frozen)
) -> None:
    """Write ``point_cloud.ply``, ``identities.safetensors`` and ``identities.json``.

    Args:
        train_dir: Folder to write.
        values: Parameters as trained, in the training frame.
        classifier: F.
        metadata: Content of ``identities.json``.
        frame: The training frame; ``frame.json`` is written where it is not the user's world.
    """
    from safetensors.torch import save

    write_ply(train_dir / "point_cloud.ply", _scaled(values, 1.0 / frame.scale))
    (train_dir / FRAME_FILE).unlink(missing_ok=True)
    if not frame.is_identity:
        frame.save(train_dir)
    tensors = {
        "identities": values["identities"].detach().contiguous(),
        "classifier.weight": classifier.weight.detach().contiguous(),
        "classifier.bias": classifier.bias.detach().contiguous(),
    }
    # `save_file` makes a file that its owner alone may read, whatever the umask.
    (train_dir / "identities.safetensors").write_bytes(save(tensors))
    (train_dir / "identities.json").write_text(json.dumps(metadata, indent=1) + "\n")


def save_run(trainer: Trainer, folder: Path, name: str) -> None:
    """Write the scene of a training: Gaussians, identities, classifier and their metadata.

    Args:
        trainer: At the end of its run; it stays as it is.
        folder: Folder to write.
        name: What the run is called.
    """
    config, data = trainer.config, trainer.data
    metadata = {
        "format": 1,
        "gradiseg": __version__,
        "variant": name,
        "seed": trainer.seed,
        "iterations": config.iterations,
        "num_gaussians": len(trainer.gaussians),
        "num_classes": data.num_classes,
        "identity_dim": config.identity_dim,
        "sh_degree": trainer.sh_degree,
        "background": config.background,
        "labels": config.labels,
        "longest_side": config.longest_side,
        "downsample": config.downsample,
        "scene_extent": trainer.extent,
    }
    values = {name: value.detach().cpu() for name, value in trainer.gaussians.params.items()}
    classifier = copy.deepcopy(trainer.classifier).cpu()  # the trainer's own stays where it is
    save_trained(folder, values, classifier, metadata, data.frame)


def _scaled(values: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    if factor == 1.0:
        return values
    return values | {
        "means": values["means"] * factor,
        "scales": values["scales"] + math.log(factor),
    }


def load_trained(train_dir: Path) -> TrainedScene:
    """Read what :func:`save_trained` wrote, back in the training frame.

    Raises:
        InputError: If a file is missing or the files disagree on the number of Gaussians.
    """
    from safetensors.torch import load_file

    frame = Frame.load(train_dir)
    values = _scaled(read_ply(train_dir / "point_cloud.ply"), frame.scale)
    for name in ("identities.safetensors", "identities.json"):
        if not (train_dir / name).is_file():
            raise InputError(f"{train_dir / name} is missing; run the train stage again")
    tensors = load_file(str(train_dir / "identities.safetensors"))
    metadata = json.loads((train_dir / "identities.json").read_text())
    identities = tensors["identities"]
    if identities.shape[0] != values["means"].shape[0]:
        raise InputError(
            f"{train_dir}: point_cloud.ply has {values['means'].shape[0]} Gaussians, "
            f"identities.safetensors {identities.shape[0]}; they are of different runs"
        )
    classifier = IdentityClassifier.of(tensors["classifier.weight"], tensors["classifier.bias"])
    return TrainedScene(**values, identities=identities, classifier=classifier, metadata=metadata)
