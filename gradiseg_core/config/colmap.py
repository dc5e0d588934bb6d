"""Configuration of stage `colmap`: from photographs to cameras and sparse points."""

from __future__ import annotations

from typing import ClassVar, Literal

from gradiseg_core.config.base import Section, constant, option

CameraModel = Literal[
    "SIMPLE_PINHOLE",
    "PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "OPENCV",
    "FULL_OPENCV",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "OPENCV_FISHEYE",
]


class ColmapConfig(Section):
    """How the cameras are found."""

    removed: ClassVar[dict[str, str]] = {
        key: constant(key.upper(), "stages/sfm/features.py")
        for key in ("exhaustive_limit", "sequential_overlap")
    }

    camera_model: CameraModel = option(
        "SIMPLE_RADIAL",
        "COLMAP's camera model; PINHOLE for images without distortion.",
        source="COLMAP's default for photographs",
    )
    single_camera: bool | None = option(
        None,
        "One camera for all images (true), for each (false), or for each size and lens (null).",
        source="COLMAP FAQ",
    )
    max_image_size: int = option(
        3200,
        "Larger images are reduced to this longest side for features.",
        unit="px",
        source="COLMAP before 4.0",
        ge=64,
    )
    max_features: int = option(
        8192,
        "Most SIFT features of an image, the largest first.",
        unit="features",
        source="COLMAP",
        ge=128,
    )
    leave_out_standing: bool = option(
        True,
        "Leave out features of what stands in all photographs, such as a gripper.",
    )
    matcher: Literal["auto", "exhaustive", "sequential"] = option(
        "auto",
        "Match all pairs (`exhaustive`), or each image with some twenty later ones by name and "
        "thirty images with one another (`sequential`). `auto`: all for up to 200 images, or 60 "
        "frames of a video.",
    )
    guided_matching: bool = option(
        False,
        "Search along epipolar lines for more matches; takes several times as long.",
        source="measured (studies/scenes.md)",
    )
    mapper: Literal["incremental", "global"] = option(
        "incremental",
        "`incremental` is robust, `global` (GLOMAP) faster on many images.",
    )
    retry_minutes: float = option(
        20.0,
        "How long other ways are tried when photographs are left out; 0 tries none.",
        unit="min",
        source="our choice",
        ge=0.0,
    )
    min_registered_share: float = option(
        0.8,
        "Share of images that must get a camera, or the job fails.",
        ge=0.0,
        le=1.0,
    )
    existing: Literal["auto", "require", "ignore"] = option(
        "auto",
        "A COLMAP model that comes with the scene: used (`auto`), required (`require`), or not "
        "used (`ignore`).",
    )
    deterministic: bool = option(
        True,
        "Map on one thread, so that cameras can be repeated; false uses all (from about 300 "
        "images).",
        source="measured: mapping alone depends on the number of threads",
    )
