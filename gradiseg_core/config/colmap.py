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
        "COLMAP camera model; PINHOLE for images without lens distortion.",
        source="COLMAP's default for photographs",
    )
    single_camera: bool | None = option(
        None,
        "Whether all images share one camera; null: if they are of one size.",
        source="COLMAP FAQ",
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
        "Most SIFT features of one image, the largest first.",
        unit="features",
        source="COLMAP",
        ge=128,
    )
    leave_out_standing: bool = option(
        True,
        "Take no features from what is at the same place in all photographs (a gripper, a date "
        "stamp, the room behind a turntable).",
    )
    matcher: Literal["auto", "exhaustive", "sequential"] = option(
        "auto",
        "Which image pairs are matched: all (`exhaustive`), or each image with the next ten by "
        "name and ten more at doubling distances. `auto`: all for up to 200 images.",
    )
    guided_matching: bool = option(
        False,
        "Search for more matches along epipolar lines: registers more images that are noisy or far "
        "apart, and takes several times as long.",
        source="measured (studies/scenes.md)",
    )
    mapper: Literal["incremental", "global"] = option(
        "incremental",
        "COLMAP's incremental mapper (robust), or its global one (GLOMAP; faster on many images).",
    )
    min_registered_share: float = option(
        0.8,
        "Share of the images that must get a camera, else the job fails and lists the others.",
        ge=0.0,
        le=1.0,
    )
    existing: Literal["auto", "require", "ignore"] = option(
        "auto",
        "What to do with a `sparse/` model that comes with the scene: `auto` checks and uses it if "
        "there is one, `require` fails without one, `ignore` always reconstructs.",
    )
    deterministic: bool = option(
        True,
        "Run the mapper on one thread, so that cameras can be repeated; false uses all threads "
        "(worth it from about 300 images).",
        source="measured: mapping alone depends on the number of threads",
    )
