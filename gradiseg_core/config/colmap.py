"""Configuration of stage `colmap`: from photographs to cameras and sparse points."""

from __future__ import annotations

from typing import ClassVar, Literal

from gradiseg_core.config.base import Section, constant, option

CameraModel = Literal["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"]


class ColmapConfig(Section):
    """How the cameras are found."""

    removed: ClassVar[dict[str, str]] = {
        key: constant(key.upper(), "stages/sfm/features.py")
        for key in ("exhaustive_limit", "sequential_overlap")
    }

    camera_model: CameraModel = option(
        "SIMPLE_RADIAL",
        "COLMAP camera model that is estimated; PINHOLE for images without lens distortion.",
        source="COLMAP's default for photographs",
    )
    single_camera: bool | None = option(
        None,
        "Whether all images share one camera; null shares it where all images have one size.",
        source="COLMAP FAQ: shared intrinsics are better constrained",
    )
    max_image_size: int = option(
        3200,
        "Longest side at which features are extracted; larger images are reduced first.",
        unit="px",
        source="COLMAP before 4.0",
        ge=64,
    )
    max_features: int = option(
        8192,
        "Most SIFT features kept in one image (the largest scales first).",
        unit="features",
        source="COLMAP",
        ge=128,
    )
    leave_out_standing: bool = option(
        True,
        "Take no features from what stands at the same place in all photographs (a gripper, a date "
        "stamp, the room behind a turntable).",
    )
    matcher: Literal["auto", "exhaustive", "sequential"] = option(
        "auto",
        "Which image pairs are matched: all, or each image with the next ten by name and as many "
        "more at doubling distances; `auto` takes all pairs of up to 200 images.",
    )
    guided_matching: bool = option(
        False,
        "Search for more matches along the epipolar lines of a first estimate: registers more of "
        "the images that are noisy or far apart, and takes several times as long.",
        source="measured: 35 instead of 21 of 36 noisy 400 x 300 images registered, but no better "
        "poses on tabletop_breakfast (studies/scenes.md)",
    )
    mapper: Literal["incremental", "global"] = option(
        "incremental",
        "COLMAP's incremental mapper (robust), or its global one (GLOMAP; faster on many images).",
    )
    min_registered_share: float = option(
        0.8,
        "Smallest share of the images that must get a camera; below it the job fails and lists the "
        "images left out.",
        ge=0.0,
        le=1.0,
    )
    existing: Literal["auto", "require", "ignore"] = option(
        "auto",
        "What to do with a `sparse/` model that comes with the scene: auto validates and uses it "
        "where there is one, require fails without one, ignore always reconstructs.",
    )
    deterministic: bool = option(
        True,
        "Run the mapper on one thread, so that the same images, seed and versions give the same "
        "cameras; false uses all threads (worth it from about 300 images).",
        source="measured: features and matches repeat on any number of threads, mapping does not",
    )
