"""Scores edits against rendered truth (:mod:`studies.removal` says how)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.editing.scene import Scene, load
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map, resize_by_centres
from gradiseg_core.files.images import read_image, write_image
from gradiseg_core.files.pictures import panel_row
from studies.checkout import commit
from studies.options import TabletopConfig
from studies.removal_tables import ids_file, index_of, truth_files
from studies.tabletop.layout import arrange

logger = logging.getLogger(__name__)

MARGIN_PX = 4
#: Pixels in which the object differs less from what it hid, of 255, say nothing about residue.
_VISIBLE = 24.0

#: Ways of editing: options of the operation.
WAYS: dict[str, dict[str, Any]] = {
    "threshold_hull": {"fill": False, "cut": False, "halo": False},
    "class": {"fill": False, "cut": False, "halo": False},
    "clean": {"fill": False},
    "clean_fill": {"shadow": False},
    "clean_fill_shadow": {},
}


def operations(way: str, whats: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the edit that removes one thing, or swaps two, in a way of :data:`WAYS`."""
    meant = list(whats)
    if way == "threshold_hull":
        meant = [{"of": what, "probability": 0.3, "hull": True} for what in whats]
    if len(meant) == 1:
        return [{"remove": meant[0], **WAYS[way]}]
    if way == "threshold_hull":  # what both hulls hold can move but once
        meant[1] = {"of": meant[1], "without": meant[0]}
    options = {key: value for key, value in WAYS[way].items() if key != "halo"}
    return [{"swap": meant, **options}]


@dataclass(frozen=True)
class Score:
    """How near an edit comes to the truth, in the object's pixels of all test views.

    Attributes:
        psnr: dB.
        ssim: Mean over the region of the map of SSIM.
        residue: 0..1; None where the object looks like what it hid.
        pixels: Of the region.
    """

    psnr: float
    ssim: float
    residue: float | None
    pixels: int


def score(
    edited: Mapping[str, NDArray[np.uint8]],
    truth: Mapping[str, NDArray[np.uint8]],
    before: Mapping[str, NDArray[np.uint8]],
    masks: Mapping[str, NDArray[np.bool_]],
) -> Score:
    """Compare pictures of an edit with the truth.

    Args:
        edited: [H, W, 3] by view.
        truth: Without the object.
        before: With the object.
        masks: [H, W], the object's pixels.
    """
    from scipy.ndimage import binary_dilation
    from skimage.metrics import structural_similarity

    errors, similarities, left, visible, pixels = [], [], 0, 0, 0
    for view, mask in masks.items():
        if not mask.any():
            continue
        region = binary_dilation(mask, iterations=MARGIN_PX)
        now, true, was = (
            {**pictures}[view].astype(np.float64) for pictures in (edited, truth, before)
        )
        errors.append(((now - true) ** 2)[region].mean(axis=-1))
        _, full = structural_similarity(now, true, channel_axis=-1, data_range=255.0, full=True)
        similarities.append(full.mean(axis=-1)[region])
        tells = mask & (np.linalg.norm(was - true, axis=-1) > _VISIBLE)
        nearer = np.linalg.norm(now - was, axis=-1) < np.linalg.norm(now - true, axis=-1)
        left, visible = left + int((nearer & tells).sum()), visible + int(tells.sum())
        pixels += int(region.sum())
    if not pixels:
        raise InputError("no test view shows the object")
    error = float(np.concatenate(errors).mean())
    return Score(
        psnr=10.0 * float(np.log10(255.0**2 / max(error, 1e-9))),
        ssim=float(np.concatenate(similarities).mean()),
        residue=left / visible if visible else None,
        pixels=pixels,
    )


def compare(
    scene: Scene,
    truth: Mapping[str, Path],
    ids: Sequence[int],
    edits: Mapping[str, Sequence[Mapping[str, Any]]],
    out_dir: Path,
) -> dict[str, dict[str, Any]]:
    """Score edits of a trained scene, and write pictures of each beside the truth.

    Args:
        scene: The trained scene.
        truth: Files by the name of the view; their exact IDs lie beside them.
        ids: Exact IDs of the objects whose pixels count, before the edit and after it.
        edits: Operations by name.
        out_dir: For `scores.json` and pictures.
    """
    assert scene.run.manifest is not None
    views = [name for name in truth if name in scene.cameras]
    sizes = {view: (scene.cameras[view].width, scene.cameras[view].height) for view in views}
    true = {view: read_image(truth[view], sizes[view]) for view in views}
    folder = scene.run.manifest
    before = {view: read_image(folder / "images" / view, sizes[view]) for view in views}
    masks = {}
    for view in views:
        exact = folder / "gt_ids" / f"{scene.cameras[view].stem}.png", ids_file(truth[view])
        masks[view] = np.any(
            [np.isin(resize_by_centres(read_id_map(file), sizes[view][::-1]), ids)
             for file in exact], axis=0,
        )  # fmt: skip
    scores: dict[str, dict[str, Any]] = {}
    rows: dict[str, list[tuple[str, NDArray[np.uint8]]]] = {
        view: [("photograph", before[view]), ("truth", true[view])] for view in views
    }
    ceiling = _shown(scene, views)
    outside = score(ceiling, before, before, {view: ~masks[view] for view in views})
    scores["untouched"] = {"psnr_outside": round(outside.psnr, 2)}
    for name, edit in edits.items():
        try:
            edited = scene.edit(edit) if edit else scene
        except InputError as error:  # as where an operation's cut takes the last of a thing
            logger.warning("%s cannot be done, so the scene is scored as it is: %s", name, error)
            edited = scene
        shown = _shown(edited, views)
        scores[name] = asdict(score(shown, true, before, masks))
        scores[name]["seconds"] = sum(record["seconds"] for record in edited.history)
        for view in views:
            rows[view].append((name, shown[view]))
        logger.info("%s: %s", name, scores[name])
    for view, panels in rows.items():
        write_image(out_dir / f"{scene.cameras[view].stem}.png", panel_row(panels))
    (out_dir / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    return scores


def score_run(
    run: Path,
    config: TabletopConfig,
    edits: Mapping[str, Sequence[str]],
    ways: Sequence[str],
    truth_dir: Path,
    out: Path,
) -> list[dict[str, Any]]:
    """Score edits of a scene trained on the table's IDs, one at a time.

    Args:
        run: `<results>/<scene>/<variant>/seed<n>`, whose IDs are those of the table.
        config: The table.
        edits: By the name of their folder, prompts of the one thing to remove or of the two to
            swap; where the scene does not have them all it stays, and is scored so.
        ways: Names of :data:`WAYS`.
        truth_dir: Where the rendered truth lies, a folder for each edit.
        out: File to write; pictures lie beside it, in a folder for each edit.

    Returns:
        A row for each edit and way, as written; each names the commit that it was scored at.
    """
    things, scene, rows = arrange(config), load(run, device="cpu"), []
    for name, prompts in edits.items():
        ids = [index_of(things, prompt) + 1 for prompt in prompts]
        truth = truth_files(config, truth_dir / name)
        has = all((scene.ids == number).any() for number in ids)
        done = {way: operations(way, ids) if has else [] for way in ways}
        scores = compare(scene, truth, ids, done, out.parent / name)
        about = {"edit": "remove" if len(ids) == 1 else "swap", "things": list(prompts)}
        rows += [{**about, "way": way, "found": has, **scores[way], "commit": commit()}
                 for way in ways]  # fmt: skip
    out.write_text("[\n" + ",\n".join(f" {json.dumps(row)}" for row in rows) + "\n]\n")
    return rows


def _shown(scene: Scene, views: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    return {view: (255.0 * scene.render(view).color + 0.5).astype(np.uint8) for view in views}
