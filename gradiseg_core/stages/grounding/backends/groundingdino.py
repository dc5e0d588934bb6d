"""Backend ``groundingdino``: boxes that a text model finds, their masks, and the IDs inside.

For each prompt Grounding DINO finds boxes (``dino``) in the rendered picture of the first test
view, and SAM makes a mask of each (``box_masks``). The union of the masks is the text mask. An ID
is selected if more than 0.7 of its pixels lie in it (:func:`selection.select_ids`). This is
Gaussian Grouping's procedure with its thresholds. Options: only the best box; the photograph
instead of the rendering; several views that vote (:func:`selection.vote_ids`), where a view without
a box abstains.

One deviation: Gaussian Grouping cuts the rendering to 8 bits, ours is rounded, so that a grey value
may differ by one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import Conflict, Device, InputPath, constant, device_option, option
from gradiseg_core.config.checkpoints import Checkpoint
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import SceneView
from gradiseg_core.models.sam_options import CHECKPOINTS as SAM_CHECKPOINTS
from gradiseg_core.models.sam_options import SamBoxes
from gradiseg_core.stages.grounding.box_masks import BoxMasks
from gradiseg_core.stages.grounding.dino import KEY, Detections, GroundingDino, normalised_prompt
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import (
    Choice,
    Evidence,
    overlap_shares,
    select_ids,
    vote_ids,
)

logger = logging.getLogger(__name__)

REQUIRES = Requires("groundingdino", mem_mb=16000, runtime_min=60, gpu=True)
_GG = "GG (ext/grounded_sam.py)"

_TRANSFORMERS_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
CHECKPOINTS = (
    Checkpoint(
        "groundingdino_swinb",
        "Grounding DINO, Swin-B (cogcoor): the paper's grounding model",
        "Apache-2.0",
        None,
        kind="folder",
        repo="IDEA-Research/grounding-dino-base",
        revision="12bdfa3120f3e7ec7b434d90674b3396eccf88eb",
        patterns=_TRANSFORMERS_FILES,
    ),
    Checkpoint(
        "groundingdino_swint",
        "Grounding DINO, Swin-T: smaller and faster",
        "Apache-2.0",
        689_359_096,
        kind="folder",
        repo="IDEA-Research/grounding-dino-tiny",
        revision="a2bb814dd30d776dcf7e30523b00659f4f141c71",
        patterns=_TRANSFORMERS_FILES,
    ),
    *SAM_CHECKPOINTS,
)


class Options(BackendOptions):
    """Grounding DINO finds boxes for the prompt, SAM turns them into masks."""

    removed: ClassVar[dict[str, str]] = {
        "text_threshold": constant("TEXT_THRESHOLD", "stages/grounding/dino.py"),
        "vote": constant("MAJORITY", "stages/grounding/selection.py"),
    }

    model: Literal["swinb", "swint"] = option(
        "swinb",
        "Image encoder; `swint` is smaller and faster.",
        source="GG (render_lerf_mask.py): SwinB-cogcoor",
    )
    checkpoint: InputPath | None = option(
        None,
        "Folder of the model in transformers' format; null downloads it.",
    )
    sam: SamBoxes = option(SamBoxes(), "SAM that turns boxes into masks.")
    box_threshold: float = option(
        0.3, "Keep boxes whose best token scores above this.", ge=0, lt=1, source=_GG
    )
    shorter_side: int = option(
        800, "Shorter side of the searched picture.", unit="px", ge=32, source=_GG
    )
    longer_side: int = option(1333, "Limit of its longer side.", unit="px", ge=32, source=_GG)
    boxes: Literal["all", "top1"] = option(
        "all", "Make masks of all boxes, or of the best.", source=_GG
    )
    image: Literal["rendered", "photograph"] = option(
        "rendered",
        "Which picture is searched.",
        source=_GG,
    )
    views: (
        Annotated[int, Field(ge=1)] | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    ) = option(
        1,
        "Test views to search: the first n, or a list of numbers from 0. Of several that show an "
        "ID and have a box, more than half must select it.",
        source="GG (render_lerf_mask.py): the first",
    )
    device: Device = device_option()
    half: bool = option(
        False,
        "Half precision on CUDA; scores near a threshold may change.",
        source="GG: single precision",
    )

    text_overlap: float = option(
        0.7,
        "Select IDs with more than this share of their pixels in the text mask.",
        ge=0,
        lt=1,
        source=_GG,
    )

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints: text model, then SAM."""
        return {f"groundingdino_{self.model}": self.checkpoint} | self.sam.weights()

    def for_photographs(self) -> Options:
        """Return the options that search the photograph."""
        return self.model_copy(update={"image": "photograph"})

    def conflicts(self) -> Iterator[Conflict]:
        """Refuse a longer side below the shorter one."""
        if self.longer_side < self.shorter_side:
            yield Conflict(
                ("longer_side", "shorter_side"),
                f"longer_side ({self.longer_side}) is below shorter_side ({self.shorter_side})",
            )


#: IDs that overlap the text mask, and boxes, that selection.json lists at most for a view.
LISTED = 20


class Detector(Protocol):
    """What finds a prompt's boxes; see :meth:`dino.GroundingDino.detect`."""

    def detect(
        self,
        image: NDArray[np.uint8],
        prompt: str,
        options: Options,
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


def run(request: Request) -> dict[str, Choice]:
    """Choose IDs for every prompt of the scene by its text.

    Raises:
        BackendUnavailableError: If a package or a GPU is missing or memory does not suffice.
        InputError: If a checkpoint, a prompt or the list of views cannot be used.
    """
    detector, masker = load_models(request.options, request.weights)
    return ground_with(request, detector, masker)


def load_models(options: Options, weights: Mapping[str, Path]) -> tuple[GroundingDino, BoxMasks]:
    """Load Grounding DINO and SAM.

    Args:
        options: Options of the backend.
        weights: Checkpoints by the names of ``options.weights()``.

    Raises:
        BackendUnavailableError: If a package or a GPU is missing.
        InputError: If a checkpoint is missing or cannot be used.
    """
    from gradiseg_core.compute.placement import choose_device

    missing = sorted(set(options.weights()) - set(weights))
    if missing:
        raise InputError(
            f"grounding.backend: groundingdino was given no checkpoint {', '.join(missing)}; the "
            "rule hands them over, a call from Python names them in `weights`"
        )
    device = choose_device(options.device, f"{KEY}.device")
    half = options.half and device.type == "cuda"
    dino, sam = (weights[name] for name in options.weights())
    logger.info("Grounding DINO %s and SAM %s on %s", options.model, options.sam.model, device)
    return (
        GroundingDino(dino, device, half=half),
        BoxMasks(options.sam.model, sam, device, half=half),
    )


def ground_with(request: Request, detector: Detector, masker: Masker) -> dict[str, Choice]:
    """Choose IDs for every prompt with models that are loaded."""
    options = request.options
    photograph = options.image == "photograph"
    found: dict[str, list[tuple[SceneView, NDArray[np.int32], Detections, Evidence]]] = {
        prompt: [] for prompt in request.manifest.prompts
    }
    for view in searched_views(request):
        image, ids = request.picture(view, photograph=photograph), request.test_ids(view)
        masker.set_image(image)
        for prompt, entries in found.items():
            boxes = detector.detect(image, prompt, options)
            used = min(len(boxes.boxes), 1) if options.boxes == "top1" else len(boxes.boxes)
            mask = masker.union(boxes.boxes[:used])
            evidence = Evidence(view.stem, image, boxes.boxes, boxes.scores, used, mask)
            entries.append((view, ids, boxes, evidence))
    return {prompt: _choose(prompt, entries, options) for prompt, entries in found.items()}


def searched_views(request: Request) -> list[SceneView]:
    """Return the test views that ``grounding.groundingdino.views`` names.

    Raises:
        InputError: If there is no test view, or a number that no rendered view has.
    """
    wanted = request.options.views
    if not request.views:
        raise InputError(f"scene {request.manifest.name} has no view to search a prompt in")
    if isinstance(wanted, int):
        return request.views[:wanted]
    if request.views[0].test_index is None:
        # Training views stand in for test views: those that are named are not there.
        return request.views[: len(set(wanted))]
    by_index = {view.test_index: view for view in request.views}
    unknown = [number for number in wanted if number not in by_index]
    if unknown:
        raise InputError(
            f"{KEY}.views names test views {unknown}; scene {request.manifest.name} has "
            f"{sorted(index for index in by_index if index is not None)}"
        )
    return [by_index[number] for number in dict.fromkeys(wanted)]


def _choose(
    prompt: str,
    entries: list[tuple[SceneView, NDArray[np.int32], Detections, Evidence]],
    options: Options,
) -> Choice:
    """Select the IDs of one prompt from what was found in each view."""
    ballots, records = [], []
    for view, ids, boxes, evidence in entries:
        chosen = select_ids(ids, evidence.text_mask, options.text_overlap)
        if evidence.used:
            ballots.append((np.unique(ids).tolist(), chosen))
        records.append(_record(view, ids, boxes, evidence, chosen))
    selected = vote_ids(ballots)
    details: dict[str, Any] = {
        "text": normalised_prompt(prompt),
        "model": options.model,
        "sam": options.sam.model,
        "boxes": options.boxes,
        "image": options.image,
        "views": records,
    }
    why = _why(selected, records, len(ballots), options)
    return Choice(selected, why, details, tuple(evidence for *_, evidence in entries))


def _record(
    view: SceneView,
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


def _why(selected: list[int], records: list[dict[str, Any]], voters: int, options: Options) -> str:
    """Return the reason for the choice in one sentence, or why there is none."""
    where = records[0]["view"] if len(records) == 1 else f"any of {len(records)} views"
    if not voters:
        best = max(record["best_score"] for record in records)
        return (
            f"Grounding DINO found no box above {options.box_threshold} in {where} (best score "
            f"{best:.2f})"
        )
    percent = f"{100 * options.text_overlap:.0f} %"
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
