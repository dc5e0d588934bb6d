"""Configuration of grounding: from prompts to object IDs to masks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gradiseg_core.config.base import Section, option


class GroundingConfig(Section):
    """How a prompt becomes object IDs, and how IDs become masks."""

    backend: Literal["manual", "colour_words"] = option(
        "colour_words",
        "`colour_words` matches the colours named in a prompt with the rendered objects; `manual` "
        "reads the choice from a file or takes the ID that overlaps the annotation best.",
    )
    selection: Path | None = option(
        None,
        "`manual`: file with the IDs of each prompt (an edited copy of a run's selection.json, or "
        "`{prompt: [ids]}`). A prompt that it does not name, or a file that does not exist yet, "
        "falls back to the best overlap.",
    )
    overlap: Literal["pooled", "best_view"] = option(
        "pooled",
        "`manual`: IoU with the annotation over all training views together, or in the training "
        "view where it is highest.",
        source="GradiSeg section 6 (IDs chosen by hand from the input masks); pooling is ours",
    )
    fragment_share: float | None = option(
        None,
        "`manual`: also select every further ID that lies on the annotated object with more than "
        "this share of its pixels (an object that tracking split); none selects the best only.",
        gt=0,
        le=1,
    )
    max_area_share: float = option(
        0.15,
        "`colour_words`: an ID that covers more than this share of a rendered view, averaged over "
        "the views that show it, counts as background and is never selected.",
        gt=0,
        le=1,
        source="measured on the embedded scene",
    )
    min_area_share: float = option(
        0.0005,
        "`colour_words`: an ID that covers less than this share of every view is never selected.",
        ge=0,
        lt=1,
    )
    typical_area_share: float = option(
        0.005,
        "`colour_words`: an ID's score is weighed with a / (a + this), a being its share of the "
        "view: large enough and specks lose to objects, too large and small objects lose.",
        gt=0,
        lt=1,
        source="measured on the embedded scene",
    )
    min_score: float = option(
        0.25,
        "`colour_words`: the least share of an object's pixels that must have the named colour; "
        "a prompt whose best object stays below it selects nothing.",
        ge=0,
        le=1,
        source="measured on the embedded scene",
    )
    fragment_contact: float | None = option(
        0.2,
        "`colour_words`: an ID of the same colour joins the best one where more than this share of "
        "its outline touches it (an object that tracking split); none takes the best ID alone.",
        gt=0,
        le=1,
        source="measured on tabletop_breakfast",
    )
    background_ids: tuple[int, ...] = option(
        (0,), "`colour_words`: IDs that are never selected; 0 is the unlabelled background."
    )
    masks: Literal["probability", "argmax"] = option(
        "probability",
        "Predicted mask: any selected ID above `probability_threshold`, or the selected IDs of the "
        "argmax label map.",
        source="Gaussian Grouping (render_lerf_mask.py)",
    )
    probability_threshold: float = option(
        0.2,
        "Softmax probability above which a pixel belongs to a selected ID.",
        ge=0,
        lt=1,
        source="Gaussian Grouping (render_lerf_mask.py)",
    )
    text_overlap: float = option(
        0.7,
        "Text-mask backends: an ID is selected where more than this share of its pixels in the "
        "first test view lies inside the text mask.",
        ge=0,
        lt=1,
        source="Gaussian Grouping (ext/grounded_sam.py)",
    )
