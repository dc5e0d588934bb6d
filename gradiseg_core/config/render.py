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
        "`auto`: a GPU if there is one, and gsplat.",
    )
    rasterizer: Literal["fast", "reference"] = option(
        "fast",
        "The compiled rasterizer, or the slow one in plain PyTorch.",
    )
    labels: Literal["trained"] | LabelRule = option(
        "trained",
        "How a pixel is labelled; `trained` follows `train.labels`.",
    )
    size: Literal["trained", "photograph"] = option(
        "trained",
        "As large as in training, or as the photographs: finer outlines, colours that were not "
        "trained for it.",
        source="3DGS and GG: that of training",
    )
    train_views: bool = option(False, "Also render the training views; no score uses them.")
