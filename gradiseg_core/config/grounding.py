"""Configuration of grounding: from prompts to object IDs to masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from gradiseg_core.config.base import Conflict, Device, Section, device_option, option
from gradiseg_core.config.paths import InputPath, UserPath

_GG = "Gaussian Grouping (ext/grounded_sam.py)"


class BoxSamConfig(Section):
    """SAM that turns boxes into masks."""

    model: Literal["vit_h", "vit_l", "vit_b"] = option(
        "vit_h", "SAM's image encoder.", source="Gaussian Grouping (render_lerf_mask.py)"
    )
    checkpoint: InputPath | None = option(
        None, "Checkpoint file of your own; null downloads the published one."
    )


class GroundingDinoConfig(Section):
    """The text model: Grounding DINO finds boxes, SAM turns them into masks."""

    model: Literal["swinb", "swint"] = option(
        "swinb",
        "Grounding DINO's image encoder; `swint` is smaller and faster.",
        source="Gaussian Grouping (render_lerf_mask.py): SwinB-cogcoor",
    )
    checkpoint: InputPath | None = option(
        None,
        "Folder of your own with the model in transformers' format (safetensors); null downloads "
        "the published one.",
    )
    sam: BoxSamConfig = option(BoxSamConfig(), "SAM that turns boxes into masks.")
    box_threshold: float = option(
        0.3, "Boxes whose best token scores above this are kept.", ge=0, lt=1, source=_GG
    )
    text_threshold: float = option(
        0.45,
        "Tokens that score above this for a box form its phrase; phrases are only recorded.",
        ge=0,
        lt=1,
        source=_GG,
    )
    shorter_side: int = option(
        800, "Shorter side of the picture that is searched.", unit="px", ge=32, source=_GG
    )
    longer_side: int = option(
        1333, "Most that its longer side may have.", unit="px", ge=32, source=_GG
    )
    boxes: Literal["all", "top1"] = option(
        "all", "Which boxes become masks: all that are kept, or the best one.", source=_GG
    )
    image: Literal["rendered", "photograph"] = option(
        "rendered",
        "Picture that is searched; `photograph` sees the test photographs, which a method for new "
        "views does not have.",
        source=_GG,
    )
    views: (
        Annotated[int, Field(ge=1)] | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    ) = option(
        1,
        "Test views that are searched: the first n, or a list of their numbers from 0. Of several "
        "the IDs are chosen by a vote.",
        source="Gaussian Grouping (render_lerf_mask.py): the first",
    )
    vote: float = option(
        0.5,
        "With several views: an ID is selected where more than this share of the views that show "
        "it and in which a box was found select it.",
        ge=0,
        lt=1,
    )
    device: Device = device_option("the models run")
    half: bool = option(
        False,
        "Half precision on CUDA; ignored on the CPU. Scores near a threshold may change.",
        source="Gaussian Grouping runs in single precision",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """The longer side is not the shorter one."""
        if self.longer_side < self.shorter_side:
            yield Conflict(
                ("longer_side", "shorter_side"),
                f"longer_side ({self.longer_side}) is below shorter_side ({self.shorter_side})",
            )


class GroundingConfig(Section):
    """How a prompt becomes object IDs, and how IDs become masks."""

    backend: Literal["manual", "colour_words", "groundingdino"] = option(
        "colour_words",
        "`colour_words` matches the colours named in a prompt with the rendered objects; `manual` "
        "reads the choice from a file or takes the ID that overlaps the annotation best; "
        "`groundingdino` finds the prompt in a picture with Grounding DINO and SAM.",
    )
    groundingdino: GroundingDinoConfig = option(
        GroundingDinoConfig(), "Options of backend `groundingdino`."
    )
    selection: UserPath | None = option(
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
    masks: Literal["auto", "probability", "argmax"] = option(
        "auto",
        "Predicted mask: `probability`, any selected ID above `probability_threshold`; `argmax`, "
        "the selected IDs of the label map; `auto`, the first where labels are read from blended "
        "encodings, the second where from probabilities, which fall off slowly at outlines.",
        source="Gaussian Grouping (render_lerf_mask.py); measured (docs/results.md)",
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
        "`groundingdino`: an ID is selected where more than this share of its pixels in the view "
        "that was searched lies inside the text mask.",
        ge=0,
        lt=1,
        source=_GG,
    )
    pictures: bool = option(True, "Write a picture of what each prompt found, for the report.")

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints that the chosen backend needs: text model, then SAM."""
        if self.backend != "groundingdino":
            return {}
        dino = self.groundingdino
        return {
            f"groundingdino_{dino.model}": dino.checkpoint,
            f"sam_{dino.sam.model}": dino.sam.checkpoint,
        }
