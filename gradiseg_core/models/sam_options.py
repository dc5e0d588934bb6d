"""Options and checkpoints of Segment Anything, which several backends run."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from gradiseg_core.config.backends import BackendOptions
from gradiseg_core.config.base import InputPath, Section, constant, option
from gradiseg_core.config.checkpoints import Checkpoint

_GG = "GG's DEVA"
_SAM = "SAM's default, as in GG's DEVA"

#: How far the threshold of SAM's logits is raised and lowered to see how stable a mask is, logits.
STABILITY_SCORE_OFFSET = 1.0  # segment-anything's default, which DEVA's demo keeps
#: Of two masks whose boxes overlap by more, as an IoU, the less confident is a duplicate.
BOX_NMS_THRESH = 0.7  # segment-anything's default, which DEVA's demo keeps
#: A mask is dropped if the masks above it leave less than this share visible; the rest of it then
#: belongs to no segment. Has no effect with `overlap: smallest`.
MIN_VISIBLE = 0.8  # DEVA's demo

_NO_CROPS = (
    "is no longer a key: SAM sees the whole photograph, without crops, as in DEVA's demo; for "
    "smaller objects raise `points_per_side`"
)
_PUBLISHED = "https://dl.fbaipublicfiles.com/segment_anything/"
CHECKPOINTS = (
    Checkpoint(
        "sam_vit_h",
        "Segment Anything, ViT-H: the paper's segmenter",
        "Apache-2.0",
        2_564_550_879,
        url=_PUBLISHED + "sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    Checkpoint(
        "sam_vit_l",
        "Segment Anything, ViT-L",
        "Apache-2.0",
        1_249_524_607,
        url=_PUBLISHED + "sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    Checkpoint(
        "sam_vit_b",
        "Segment Anything, ViT-B: the smallest",
        "Apache-2.0",
        375_042_383,
        url=_PUBLISHED + "sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
)


class SamMasks(BackendOptions):
    """Segment Anything's automatic masks, laid over one another in one ID map.

    Gaussian Grouping runs DEVA's demo and sets only the threshold of the predicted IoU. All other
    values are those of the demo, or SAM's defaults.
    """

    removed: ClassVar[dict[str, str]] = {
        "stability_score_offset": constant("STABILITY_SCORE_OFFSET", "models/sam_options.py"),
        "box_nms_thresh": constant("BOX_NMS_THRESH", "models/sam_options.py"),
        "min_visible": constant("MIN_VISIBLE", "models/sam_options.py"),
        "crop_n_layers": _NO_CROPS,
        "crop_nms_thresh": _NO_CROPS,
        "crop_overlap_ratio": _NO_CROPS,
        "crop_n_points_downscale_factor": _NO_CROPS,
        "min_mask_region_area": "is no longer a key; `min_area` drops small segments",
    }

    model: Literal["vit_h", "vit_l", "vit_b"] = option(
        "vit_h",
        "Image encoder; smaller ones are faster and coarser.",
        source=_GG,
    )
    checkpoint: InputPath | None = option(
        None,
        "Its file; null downloads it.",
    )
    longest_side: int = option(
        1024,
        "Larger photographs are reduced to this longest side.",
        unit="px",
        source="what SAM resizes to",
        ge=64,
    )
    points_per_side: int = option(
        64,
        "Points on a side of the grid; time grows with the square.",
        source=f"{_GG}; SAM's default is 32",
        ge=1,
    )
    points_per_batch: int = option(
        64,
        "Points asked at once: speed and memory.",
        source=_SAM,
        ge=1,
    )
    pred_iou_thresh: float = option(
        0.7,
        "Drop masks of a lower predicted IoU.",
        source=f"{_GG}; SAM's default is 0.88",
        ge=0.0,
        le=1.0,
    )
    stability_score_thresh: float = option(
        0.95,
        "Drop masks that change more with the threshold of the logits.",
        source=_SAM,
        ge=0.0,
        le=1.0,
    )
    overlap: Literal["largest", "smallest", "confident"] = option(
        "largest",
        "Which mask a pixel takes: the `largest` (objects), the `smallest` (parts), or the most "
        "`confident`.",
        source=f"{_GG}: `--suppress_small_objects`",
    )
    min_area: float = option(
        0.0,
        "Segments below this area are dropped.",
        unit="px at 640 px",
        source="DEVA's demo: none",
        ge=0.0,
    )

    def weights(self) -> dict[str, Path | None]:
        """Return SAM's checkpoint."""
        return {f"sam_{self.model}": self.checkpoint}


class SamBoxes(Section):
    """SAM that turns boxes into masks."""

    model: Literal["vit_h", "vit_l", "vit_b"] = option(
        "vit_h", "Image encoder.", source="GG (render_lerf_mask.py)"
    )
    checkpoint: InputPath | None = option(None, "Its file; null downloads it.")

    def weights(self) -> dict[str, Path | None]:
        """Return SAM's checkpoint."""
        return {f"sam_{self.model}": self.checkpoint}
