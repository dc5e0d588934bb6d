"""Backend ``manual``: IDs chosen by hand, or by best overlap with the annotation.

The paper's Table 2 selects the ID of each object by hand from the input masks, which takes text
out of the score. For each prompt, in this order:

1. the file ``selection`` names IDs for it: they are taken as they are;
2. the scene has exact IDs of training views: the tracked ID that overlaps the object best there;
3. otherwise the rendered ID that overlaps the annotation best in the first annotated test view.
   That uses a test annotation, so it is an upper bound, and ``from_test_view`` says so.

To choose by hand, copy the run's ``selection.json``, change the lists ``ids`` (the contact sheet of
the tracking stage and the rendered ID maps show which ID is which), set
``grounding.manual.selection`` to the copy and run again. A file of the form ``{prompt: [ids]}``
does as well.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import UserPath, option
from gradiseg_core.errors import InputError
from gradiseg_core.files.annotations import annotation_files, true_mask
from gradiseg_core.files.id_maps import resize_by_centres
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import Choice, best_id, count_table

logger = logging.getLogger(__name__)

REQUIRES = Requires("evaluate", runtime_min=60)


class Options(BackendOptions):
    """IDs chosen by hand, or by best overlap with the annotation."""

    selection: UserPath | None = option(
        None,
        "File of `{prompt: [ids]}`, or an edited selection.json. Other prompts take the best "
        "overlap.",
    )
    overlap: Literal["pooled", "best_view"] = option(
        "pooled",
        "IoU over all training views together, or in the best one.",
        source="GradiSeg section 6 chooses by hand; pooling is ours",
    )
    fragment_share: float | None = option(
        None,
        "Also select IDs with more than this share of their pixels on the object; null: the best "
        "alone.",
        gt=0,
        le=1,
    )

    def for_photographs(self) -> Options:
        """Return the options without ``selection``: its IDs are those of the trained scene."""
        if self.selection is not None:
            logger.info(
                "grounding.manual.selection holds IDs of the trained scene and is not used in 2D"
            )
        return self.model_copy(update={"selection": None})


def run(request: Request) -> dict[str, Choice]:
    """Choose IDs for every prompt of the scene.

    Raises:
        InputError: If the selection file is malformed, names an unknown prompt or an ID that the
            classifier does not have.
    """
    chosen = _read_selection(request)
    truth = _ground_truth(request)
    choices = {}
    for prompt in request.manifest.prompts:
        if prompt in chosen:
            name = request.options.selection.name if request.options.selection else ""
            choices[prompt] = Choice(chosen[prompt], f"from the selection file {name}")
        else:
            choices[prompt] = _from_training(request, prompt, truth) or _from_test(request, prompt)
    return choices


def _read_selection(request: Request) -> dict[str, list[int]]:
    path = request.options.selection
    if path is None or not path.is_file():
        return {}
    try:
        content: Any = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    prompts = content.get("prompts", content) if isinstance(content, dict) else None
    if not isinstance(prompts, dict):
        raise InputError(f"{path} must be an object of prompts, like a run's selection.json")
    unknown = sorted(set(prompts) - set(request.manifest.prompts))
    if unknown:
        raise InputError(
            f"{path} names prompts that scene {request.manifest.name} lacks: {', '.join(unknown)}; "
            f"its prompts are {', '.join(request.manifest.prompts)}"
        )
    return {prompt: _checked_ids(path, prompt, entry, request) for prompt, entry in prompts.items()}


def _checked_ids(path: Path, prompt: str, entry: Any, request: Request) -> list[int]:
    ids = entry.get("ids") if isinstance(entry, dict) else entry
    if not isinstance(ids, list) or not all(type(value) is int for value in ids):
        raise InputError(f"{path}: the IDs of {prompt!r} must be a list of integers, got {ids!r}")
    wrong = [value for value in ids if not 0 <= value < request.num_classes]
    if wrong:
        raise InputError(
            f"{path}: {prompt!r} selects {wrong}, but IDs run from 0 to {request.num_classes - 1}"
        )
    return ids


def _ground_truth(request: Request) -> dict[str, int]:
    path = request.scene_dir / "ground_truth.json"
    if not path.is_file():
        return {}
    return json.loads(path.read_text()).get("gt_id_of_prompt", {})


def _from_training(request: Request, prompt: str, truth: dict[str, int]) -> Choice | None:
    """Choose by the training views, or return None where they cannot decide."""
    tables = request.truth_tables if prompt in truth else None
    if tables is None or truth[prompt] >= tables.shape[1]:
        return None
    ids, overlap = best_id(
        tables,
        truth[prompt],
        pooled=request.options.overlap == "pooled",
        fragment_share=request.options.fragment_share,
    )
    details = {"overlap": overlap, "gt_id": truth[prompt], "from_test_view": False}
    if not ids:
        return Choice([], "no tracked ID touches the object in any training view", details)
    over = "all training views" if request.options.overlap == "pooled" else "its best training view"
    return Choice(ids, f"overlaps the annotated object best (IoU {overlap:.3f} in {over})", details)


def _from_test(request: Request, prompt: str) -> Choice:
    for view in request.views:
        path = annotation_files(request.scene_dir, view).get(prompt)
        if path is None:
            continue
        mask = true_mask(request.colmap_dir, view, path)
        if not mask.any():
            continue  # An empty annotation overlaps nothing.
        ids = resize_by_centres(request.test_ids(view), mask.shape)
        table = count_table(mask.astype(np.int32), ids, 1, int(ids.max()))[None]
        best, overlap = best_id(
            table, 1, pooled=True, fragment_share=request.options.fragment_share
        )
        details = {"overlap": overlap, "view": view.stem, "from_test_view": True}
        if not best:
            return Choice(
                [], f"only background is rendered at the annotation in {view.stem}", details
            )
        return Choice(
            best,
            f"overlaps the annotation best in test view {view.stem} (IoU {overlap:.3f}); no "
            "training view is annotated, so this choice has seen a test annotation",
            details,
            protocol=(f"by the annotation of {view.name}, a test view",),
        )
    return Choice(
        [],
        "not named in a selection file, and no rendered view has an annotation that is not empty",
    )
