"""Backend ``groundingdino``: boxes that a text model finds, their masks, and the IDs inside.

For each prompt, in the rendered picture of the first test view: Grounding DINO's boxes
(:mod:`dino`), SAM's mask of each (:mod:`box_masks`), their union is the text mask; an ID is
selected where more than 0.7 of its pixels lie in it (:func:`selection.select_ids`). That is
Gaussian Grouping's procedure with its thresholds. As options: the best box alone; the photograph
instead of the rendering; several views with a vote (:func:`selection.vote_ids`), in which a view
where nothing was found abstains.

One deviation: Gaussian Grouping cuts the rendering to 8 bits, ours is rounded, so that a grey value
may differ by one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.grounding import GroundingConfig, GroundingDinoConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import View
from gradiseg_core.stages.grounding.box_masks import BoxMasks
from gradiseg_core.stages.grounding.dino import KEY, Detections, GroundingDino, normalised_prompt
from gradiseg_core.stages.grounding.interface import GroundingInputs
from gradiseg_core.stages.grounding.selection import (
    Choice,
    Evidence,
    overlap_shares,
    select_ids,
    vote_ids,
)

logger = logging.getLogger(__name__)

#: IDs that overlap the text mask, and boxes, that selection.json lists at most for a view.
LISTED = 20


class Detector(Protocol):
    """What finds a prompt's boxes; see :meth:`dino.GroundingDino.detect`."""

    def detect(
        self,
        image: NDArray[np.uint8],
        prompt: str,
        options: GroundingDinoConfig,
    ) -> Detections:
        """Find a prompt in a picture."""
        ...


class Masker(Protocol):
    """What turns boxes into masks; see :class:`box_masks.BoxMasks`."""

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Take the picture that the next boxes lie in."""
        ...

    def union(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the union of the boxes' masks."""
        ...


def ground_text(inputs: GroundingInputs) -> dict[str, Choice]:
    """Choose IDs for every prompt of the scene by its text.

    Raises:
        BackendUnavailableError: If a package or a GPU is missing or memory does not suffice.
        InputError: If a checkpoint, a prompt or the list of views cannot be used.
    """
    detector, masker = load_models(inputs.config, inputs.weights)
    return ground_with(inputs, detector, masker)


def load_models(
    config: GroundingConfig, weights: Mapping[str, Path]
) -> tuple[GroundingDino, BoxMasks]:
    """Load Grounding DINO and SAM.

    Args:
        config: Options of the stage.
        weights: Checkpoints by the names of ``config.weights()``.

    Raises:
        BackendUnavailableError: If a package or a GPU is missing.
        InputError: If a checkpoint is missing or cannot be used.
    """
    from gradiseg_core.compute.placement import choose_device

    options = config.groundingdino
    missing = sorted(set(config.weights()) - set(weights))
    if missing:
        raise InputError(
            f"grounding.backend: groundingdino was given no checkpoint {', '.join(missing)}; the "
            "rule hands them over, a call from Python names them in `weights`"
        )
    device = choose_device(options.device, f"{KEY}.device")
    half = options.half and device.type == "cuda"
    dino, sam = (weights[name] for name in config.weights())
    logger.info("Grounding DINO %s and SAM %s on %s", options.model, options.sam.model, device)
    return (
        GroundingDino(dino, device, half=half),
        BoxMasks(options.sam.model, sam, device, half=half),
    )


def ground_with(inputs: GroundingInputs, detector: Detector, masker: Masker) -> dict[str, Choice]:
    """Choose IDs for every prompt with models that are loaded."""
    options = inputs.config.groundingdino
    photograph = options.image == "photograph"
    found: dict[str, list[tuple[View, NDArray[np.int32], Detections, Evidence]]] = {
        prompt: [] for prompt in inputs.manifest.prompts
    }
    for view in searched_views(inputs):
        image, ids = inputs.picture(view, photograph=photograph), inputs.test_ids(view)
        masker.set_image(image)
        for prompt, entries in found.items():
            boxes = detector.detect(image, prompt, options)
            used = min(len(boxes.boxes), 1) if options.boxes == "top1" else len(boxes.boxes)
            mask = masker.union(boxes.boxes[:used])
            evidence = Evidence(view.stem, image, boxes.boxes, boxes.scores, used, mask)
            entries.append((view, ids, boxes, evidence))
    return {prompt: _choose(prompt, entries, inputs.config) for prompt, entries in found.items()}


def searched_views(inputs: GroundingInputs) -> list[View]:
    """Return the test views that ``grounding.groundingdino.views`` names.

    Raises:
        InputError: If there is no test view, or a number that no rendered view has.
    """
    wanted = inputs.config.groundingdino.views
    if not inputs.views:
        raise InputError(f"scene {inputs.manifest.name} has no view to search a prompt in")
    if isinstance(wanted, int):
        return inputs.views[:wanted]
    if inputs.views[0].test_index is None:
        # Training views stand in for test views: those that are named are not there.
        return inputs.views[: len(set(wanted))]
    by_index = {view.test_index: view for view in inputs.views}
    unknown = [number for number in wanted if number not in by_index]
    if unknown:
        raise InputError(
            f"{KEY}.views names test views {unknown}; scene {inputs.manifest.name} has "
            f"{sorted(index for index in by_index if index is not None)}"
        )
    return [by_index[number] for number in dict.fromkeys(wanted)]


def _choose(
    prompt: str,
    entries: list[tuple[View, NDArray[np.int32], Detections, Evidence]],
    config: GroundingConfig,
) -> Choice:
    """Select the IDs of one prompt from what was found in each view."""
    options = config.groundingdino
    ballots, records = [], []
    for view, ids, boxes, evidence in entries:
        chosen = select_ids(ids, evidence.text_mask, config.text_overlap)
        if evidence.used:
            ballots.append((np.unique(ids).tolist(), chosen))
        records.append(_record(view, ids, boxes, evidence, chosen))
    selected = vote_ids(ballots, options.vote)
    details: dict[str, Any] = {
        "text": normalised_prompt(prompt),
        "model": options.model,
        "sam": options.sam.model,
        "boxes": options.boxes,
        "image": options.image,
        "views": records,
    }
    why = _why(selected, records, len(ballots), config)
    return Choice(selected, why, details, tuple(evidence for *_, evidence in entries))


def _record(
    view: View,
    ids: NDArray[np.int32],
    boxes: Detections,
    evidence: Evidence,
    chosen: list[int],
) -> dict[str, Any]:
    area, share = overlap_shares(ids, evidence.text_mask)
    order = [int(index) for index in np.argsort(-share, kind="stable") if share[index] > 0]
    return {
        "view": view.stem,
        "best_score": round(boxes.best_score, 4),
        "boxes_found": len(boxes.boxes),
        "boxes": [
            {
                "xyxy_px": [round(float(value), 1) for value in box],
                "score": round(float(score), 4),
                "phrase": phrase,
                "used": index < evidence.used,
            }
            for index, (box, score, phrase) in enumerate(
                zip(boxes.boxes, boxes.scores, boxes.phrases, strict=True)
            )
        ][:LISTED],
        "text_mask_px": int(np.count_nonzero(evidence.text_mask)),
        "overlaps": [
            {"id": index, "share": round(float(share[index]), 4), "area_px": int(area[index])}
            for index in order[:LISTED]
        ],
        "ids": chosen,
    }


def _why(
    selected: list[int], records: list[dict[str, Any]], voters: int, config: GroundingConfig
) -> str:
    """Say in one sentence how the choice came about, or why there is none."""
    options = config.groundingdino
    where = records[0]["view"] if len(records) == 1 else f"any of {len(records)} views"
    if not voters:
        best = max(record["best_score"] for record in records)
        return (
            f"Grounding DINO found no box above {options.box_threshold} in {where} (best score "
            f"{best:.2f})"
        )
    percent = f"{100 * config.text_overlap:.0f} %"
    if len(records) > 1:
        views = f"{voters} of {len(records)} views"
        if selected:
            return f"inside the text mask to more than {percent} by the vote of {views}"
        return f"no ID lies inside the text mask to more than {percent} in enough of {views}"
    record = records[0]
    if selected:
        count = 1 if options.boxes == "top1" else record["boxes_found"]
        boxes = f"{count} box" if count == 1 else f"{count} boxes"
        return f"inside the text mask of {boxes} in {where} to more than {percent}"
    closest = record["overlaps"][0] if record["overlaps"] else None
    near = (
        f"the closest is {closest['id']} with {100 * closest['share']:.0f} %"
        if closest
        else "the mask is empty"
    )
    return f"no ID lies inside the text mask in {where} to more than {percent}; {near}"
