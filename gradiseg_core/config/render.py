"""Configuration of the rendering of held-out views."""

from __future__ import annotations

from typing import ClassVar, Literal

from gradiseg_core.config.base import Device, Section, constant, option
from gradiseg_core.config.train import LabelRule


class RenderConfig(Section):
    """What is rendered from a trained scene, and with which rasterizer."""

    removed: ClassVar[dict[str, str]] = {
        key: constant(key.upper(), "stages/rendering/stage.py")
        for key in ("depth_percentile", "alpha_threshold", "overlay_opacity")
    }

    device: Device = option(
        "auto",
        "Where views are rendered; `auto` takes a CUDA device where there is one, and gsplat.",
    )
    rasterizer: Literal["fast", "reference"] = option(
        "fast",
        "Rasterizer: `fast` is the compiled one of the device, `reference` the slow one in plain "
        "PyTorch.",
    )
    labels: Literal["trained"] | LabelRule = option(
        "trained",
        "What a pixel's label is read from: as the scene was trained for (`train.labels`), or one "
        "of its two values.",
    )
    size: Literal["trained", "photograph"] = option(
        "trained",
        "Size of everything rendered: that of training (`train.longest_side`, `train.downsample`), "
        "or that of the photographs, for outlines as fine as theirs; colours were not trained for "
        "that size.",
        source="3DGS and Gaussian Grouping render at the size of training",
    )
    train_views: bool = option(
        False, "Also render the training views (for viewing; no score uses them)."
    )
