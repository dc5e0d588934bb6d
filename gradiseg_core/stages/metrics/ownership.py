"""Whether Gaussians carry the label of the object on which they lie; needs exact surfaces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import SURFACE_FILE
from gradiseg_core.stages.metrics.availability import mean_over

_LEAST_OPACITY = 0.05  # a fainter Gaussian shows nothing
_REACH = 0.01  # m from a surface; farther Gaussians belong to no object


def label_purity(
    means: NDArray[np.floating],
    opacities: NDArray[np.floating],
    labels: NDArray[np.integer],
    surface: tuple[NDArray[np.floating], NDArray[np.integer]],
    id_of_owner: dict[int, int | None],
) -> dict[str, Any]:
    """Score the labels of single Gaussians against the objects that own the surfaces.

    A Gaussian belongs to the object of the nearest surface point. Gaussians are weighted by
    opacity, so that visible ones count.

    Args:
        means: [N, 3] centres in the surfaces' frame, m.
        opacities: [N], 0..1.
        labels: [N] argmax of F for each Gaussian's own encoding.
        surface: Points [S, 3] and their owners [S].
        id_of_owner: The tracked ID of each owner, or None.

    Returns:
        Means over owners other than 0: ``purity`` (share of the owner's opacity that carries its
        ID) and ``iou`` (likewise, over the opacity that is the owner's or carries its ID);
        ``off_surface`` (share of all opacity farther than a centimetre from any surface);
        ``gaussians`` (how many took part). A quotient with nothing to divide by is None, with the
        reason in ``why``. ``over``: which owners the purity covers, if not all (an owner without
        any Gaussian has none).
    """
    seen = opacities >= _LEAST_OPACITY
    means, weights, labels = means[seen], opacities[seen].astype(np.float64), labels[seen]
    points, owners = surface
    distance, nearest = cKDTree(points).query(means, distance_upper_bound=_REACH)
    near = np.isfinite(distance)
    owner = owners[nearest[near]]
    purity: dict[str, float | str] = {}
    overlap: dict[str, float | str] = {}
    for key in np.unique(owners[owners > 0]):
        own, labelled = owner == key, labels[near] == id_of_owner.get(int(key))
        share = _share(labelled[own], weights[near][own])
        purity[f"object {key}"] = "no Gaussian lies on it" if share is None else share
        either = own | labelled
        share = _share((own & labelled)[either], weights[near][either])
        overlap[f"object {key}"] = (
            "no Gaussian lies on it or carries its ID" if share is None else share
        )
    mean = mean_over(purity, "objects", "the surfaces have no owners")
    return {
        "purity": mean.value,
        "iou": mean_over(overlap, "objects").value,
        "why": mean.why,
        "over": mean.over,
        "off_surface": _share(~near, weights),
        "gaussians": int(seen.sum()),
    }


def score_gaussians(
    train_dir: Path, scene_dir: Path, colmap_dir: Path, match: dict[str, Any]
) -> dict[str, Any]:
    """Score a trained scene; see :func:`label_purity`.

    Args:
        train_dir: Trained scene.
        scene_dir: Folder with ``surface.npz`` and the exact cameras, in the same frame.
        colmap_dir: Cameras that the scene was trained with.
        match: ``gt_match.json``: exact ID to tracked ID.

    Raises:
        InputError: If a file is missing or the cameras cannot be aligned.
    """
    import torch

    from gradiseg_core.alignment import align_cameras
    from gradiseg_core.cameras import Camera
    from gradiseg_core.files.colmap import load_cameras
    from gradiseg_core.files.trained import load_trained
    from gradiseg_core.splatting.losses.identity import label_map

    trained = load_trained(train_dir)
    estimated = load_cameras(colmap_dir)
    truth = json.loads((scene_dir / "ground_truth.json").read_text())["cameras"]
    exact = {}
    for entry in truth:
        if entry["name"] in estimated:
            camera = estimated[entry["name"]]
            pose = np.eye(4)
            pose[:3] = entry["cam_from_world"]
            exact[entry["name"]] = Camera(
                camera.name, camera.width, camera.height, np.array(entry["K"]), pose
            )
    try:
        similarity = align_cameras(estimated, exact).similarity
    except ValueError as error:
        raise InputError(f"{colmap_dir} and the exact cameras of {scene_dir}: {error}") from error
    with np.load(scene_dir / SURFACE_FILE) as data:
        owned = data["points"].astype(np.float64), data["owners"]
    with torch.no_grad():
        labels = label_map(trained.identities, trained.classifier).numpy()
        opacities = torch.sigmoid(trained.opacities).numpy()
    ids = {int(key): entry["id"] for key, entry in match["objects"].items()}
    means = similarity.apply(trained.means.numpy().astype(np.float64))
    return label_purity(means, opacities, labels, owned, ids)


def _share(chosen: NDArray[np.bool_], weights: NDArray[np.float64]) -> float | None:
    total = float(weights.sum())
    return float(weights[chosen].sum()) / total if total > 0 else None
