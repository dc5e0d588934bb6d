"""Configuration of grounding: from prompts to object IDs to masks."""

from __future__ import annotations

from typing import ClassVar, Literal

from gradiseg_core.config.backends import BackendConfig
from gradiseg_core.config.base import constant, option, renamed


class GroundingConfig(BackendConfig):
    """How a prompt becomes object IDs, and how IDs become masks."""

    stage: ClassVar[str] = "grounding"
    removed: ClassVar[dict[str, str]] = {
        key: renamed(f"grounding.{backend}.{key}")
        for backend, keys in (
            ("manual", ("selection", "overlap", "fragment_share")),
            ("colour_words", ("max_area_share", "min_score")),
            ("groundingdino", ("text_overlap",)),
        )
        for key in keys
    } | {
        key: constant(key.upper(), "stages/grounding/backends/colour_words.py")
        for key in ("min_area_share", "typical_area_share", "fragment_contact", "background_ids")
    }

    backend: str = option(
        "colour_words",
        "How the IDs of a prompt are found.",
    )
    masks: Literal["auto", "probability", "argmax"] = option(
        "auto",
        "A mask is where any selected ID exceeds `probability_threshold` (`probability`), or the "
        "selected IDs of the label map (`argmax`). `auto`: `argmax` with `train.labels: "
        "probabilities`.",
        source="GG (render_lerf_mask.py); measured (studies/method.md)",
    )
    probability_threshold: float = option(
        0.2,
        "Softmax probability above which a pixel belongs to a selected ID.",
        ge=0,
        lt=1,
        source="GG (render_lerf_mask.py)",
    )
    pictures: bool = option(True, "Draw what each prompt found, for the report.")
