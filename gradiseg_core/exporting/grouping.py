"""Gaussian Grouping's trained scenes, written and read.

Its folder is ``point_cloud/iteration_<n>/`` with ``point_cloud.ply``, whose ``obj_dc_<i>`` are the
encodings, and ``classifier.pth``, the state of a 1 x 1 convolution (``weight`` [C, D, 1, 1],
``bias`` [C]); ``cfg_args`` beside ``point_cloud/`` tells its scripts the number of classes.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from gradiseg_core.errors import InputError
from gradiseg_core.exporting.cloud import Cloud
from gradiseg_core.exporting.ply import write_gaussians
from gradiseg_core.files.splats import read_splats
from gradiseg_core.files.trained import TrainedScene, save_trained
from gradiseg_core.splatting.losses.identity import IdentityClassifier

#: Length of the encodings that Gaussian Grouping's kernels are compiled for.
_DIM = 16


def write_grouping(
    folder: Path,
    cloud: Cloud,
    classifier: IdentityClassifier,
    *,
    iterations: int,
    white_background: bool,
) -> None:
    """Write what Gaussian Grouping's scripts read.

    Args:
        folder: The model's folder.
        cloud: The Gaussians.
        classifier: F.
        iterations: Of the training; names the folder.
        white_background: Whether it was trained on white.

    Raises:
        InputError: If the encodings do not have the length that Gaussian Grouping has.
    """
    if classifier.dim != _DIM:
        raise InputError(
            f"the encodings have length {classifier.dim}; Gaussian Grouping reads {_DIM} alone: "
            f"train with train.identity_dim: {_DIM}, or export PLY with object_id"
        )
    inner = folder / "point_cloud" / f"iteration_{iterations}"
    write_gaussians(inner / "point_cloud.ply", cloud, encodings=True)
    state = {
        "weight": classifier.weight.detach().cpu()[:, :, None, None].contiguous(),
        "bias": classifier.bias.detach().cpu().contiguous(),
    }
    torch.save(state, inner / "classifier.pth")
    settings = Namespace(
        data_device="cuda",
        eval=True,
        images="images",
        model_path="",
        n_views=100,
        num_classes=classifier.num_classes,
        object_path="object_mask",
        random_init=False,
        resolution=-1,
        sh_degree=3,
        source_path="",
        train_split=False,
        white_background=white_background,
    )
    (folder / "cfg_args").write_text(repr(settings))


def read_grouping(folder: Path) -> TrainedScene:
    """Read a model of Gaussian Grouping.

    Args:
        folder: The model's folder, or one that holds ``point_cloud.ply`` and ``classifier.pth``;
            of several iterations the last is read.

    Raises:
        InputError: If there is none, or its files are damaged or of different models.
    """
    inner = _iteration(folder)
    splats = read_splats(inner / "point_cloud.ply")
    identities = splats.numbered("obj_dc_")
    if identities is None:
        raise InputError(
            f"{inner / 'point_cloud.ply'} has no obj_dc_0, ...: it is not a model of Gaussian "
            "Grouping. Train identities on it: train.init_from (docs/exporting.md)"
        )
    weight, bias = _classifier(inner / "classifier.pth")
    if weight.shape[1] != identities.shape[1]:
        raise InputError(
            f"{inner}: the encodings have length {identities.shape[1]}, the classifier takes "
            f"{weight.shape[1]}; they are of different models"
        )
    classifier = IdentityClassifier.of(weight, bias)
    metadata: dict[str, Any] = {
        "format": 1,
        "variant": "gaussian_grouping",
        "seed": 0,
        "iterations": int(inner.name.rpartition("_")[2]) if "_" in inner.name else 0,
        "num_gaussians": len(splats.values["means"]),
        "num_classes": classifier.num_classes,
        "identity_dim": classifier.dim,
        "sh_degree": splats.degree,
        "background": "white" if _white(folder) else "black",
        "labels": "encodings",
        "longest_side": None,
        "downsample": None,
    }
    return TrainedScene(
        **splats.values, identities=identities, classifier=classifier, metadata=metadata
    )


def import_grouping(model: Path, out: Path) -> Path:
    """Write a model of Gaussian Grouping as a trained scene.

    Args:
        model: The model's folder.
        out: Folder to write; its ``train/`` must not be there yet.

    Returns:
        ``out / "train"``.

    Raises:
        InputError: If it is not a model, or ``out`` holds a trained scene already.
    """
    train_dir = out / "train"
    if train_dir.exists():
        raise InputError(f"{train_dir} is there already; give another folder, or remove it")
    scene = read_grouping(model)
    names = ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")
    values = {name: getattr(scene, name) for name in names}
    save_trained(train_dir, values, scene.classifier, scene.metadata)
    return train_dir


def _iteration(folder: Path) -> Path:
    for holder in (folder, folder / "point_cloud"):
        if (holder / "point_cloud.ply").is_file():
            return holder
        found = [path.parent for path in holder.glob("iteration_*/point_cloud.ply")]
        if found:
            return max(found, key=lambda path: (len(path.name), path.name))
    raise InputError(
        f"no point_cloud.ply in {folder} or {folder / 'point_cloud' / 'iteration_*'}: give the "
        "folder that Gaussian Grouping's train.py wrote (its -m)"
    )


def _classifier(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        weight, bias = state["weight"].float(), state["bias"].float()
        classes, dim = weight.reshape(len(weight), -1).shape
        if bias.shape != (classes,):
            raise ValueError(f"weight {tuple(weight.shape)} and bias {tuple(bias.shape)} disagree")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: Gaussian Grouping writes it beside point_cloud.ply"
        ) from error
    except MemoryError:
        raise  # of the machine, not of the file
    except Exception as error:  # a damaged file raises nearly anything: zip, pickle, PyTorch
        raise InputError(f"{path} is not a classifier of Gaussian Grouping: {error}") from error
    return weight.reshape(classes, dim), bias


def _white(folder: Path) -> bool:
    """Whether ``cfg_args`` says so; it is Python's text of a Namespace and is not evaluated."""
    path = folder / "cfg_args"
    return path.is_file() and "white_background=True" in path.read_text(errors="replace")
