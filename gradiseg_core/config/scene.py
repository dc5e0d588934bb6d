"""Configuration of stage 1, ``scene``: where the photographs come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from gradiseg_core.config.base import Section, option
from gradiseg_core.config.messages import nearest
from gradiseg_core.config.paths import UserPath
from gradiseg_core.downloads.datasets import Factor, scenes_of

#: The embedded scene, in LERF-Mask's layout. It is part of the repository, not of the package.
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "resources" / "demo"


class DemoConfig(Section):
    """The embedded tabletop scene, rendered from procedural assets."""

    seed: int = option(
        7, "Draws the layout, sizes and textures; every seed is another table.", ge=0
    )
    width: int = option(400, "Image width.", unit="px", source="measured: time budget", ge=16)
    height: int = option(300, "Image height.", unit="px", source="measured: time budget", ge=16)
    views: int = option(32, "Training views, on two rings around the table.", unit="views", ge=3)
    test_views: int = option(4, "Held-out views between the rings.", unit="views", ge=1)
    samples_per_pixel: int = option(
        8, "Light paths a pixel; fewer is faster and noisier.", source="measured", ge=1
    )
    path_depth: int = option(
        3, "Longest light path; 2 is direct light only.", unit="segments", source="measured", ge=2
    )
    denoise: bool = option(
        True, "Smooth the light (not the textures) of the rendered images.", source="measured"
    )
    field_of_view: float = option(48.0, "Horizontal angle of view.", unit="deg", gt=5.0, lt=120.0)
    camera_distance: float = option(
        0.66, "Mean horizontal distance of the cameras from the table's middle.", unit="m", gt=0.0
    )
    objects: int = option(10, "Number of objects on the table.", unit="objects", ge=1, le=10)
    spacing: float = option(
        0.012, "Mean gap between the footprints of neighbours that do not touch.", unit="m", ge=0.0
    )
    touching: float = option(
        0.4, "Share of the objects that are pushed against a neighbour.", ge=0.0, le=1.0
    )
    size_variation: float = option(
        0.06, "Largest relative change of an object's size by the seed.", ge=0.0, le=0.4
    )
    texture_strength: float = option(
        1.0, "Contrast of all textures; 0 leaves plain colours (hard for SfM).", ge=0.0, le=1.5
    )
    write_sparse: bool = option(
        False,
        "Also write a COLMAP model from the exact cameras, so that SfM is not needed.",
    )
    sparse_points: int = option(4000, "Points of that model.", unit="points", ge=8)


Source = Literal["demo", "folder", "lerf_mask", "mipnerf360", "copy"]


class SceneConfig(Section):
    """Where a scene's photographs, split and annotations come from."""

    source: Source = option(
        "demo",
        "`demo` renders the embedded scene, `folder` takes a folder of photographs, `lerf_mask` "
        "and `mipnerf360` read the layouts of these datasets, `copy` takes what another scene of "
        "this file has (`of`).",
    )
    path: UserPath | None = option(
        None,
        "Folder of the photographs, or of the LERF-Mask or Mip-NeRF 360 scene; not used by `demo`.",
    )
    of: str | None = option(
        None,
        "`copy`: the other scene's name. Its photographs, split and annotations are taken, so that "
        "the two can differ in later stages alone; a demo is rendered once.",
    )
    dataset: str | None = option(
        None,
        "Instead of `path`: the name of a published scene, which is downloaded. `lerf_mask`: "
        f"{', '.join(scenes_of('lerf_mask'))}; `mipnerf360`: {', '.join(scenes_of('mipnerf360'))}.",
    )
    factor: Factor = option(
        8,
        "`mipnerf360`: which of its images are used, reduced this many times (`images_8`, ..., "
        "`images`).",
        source="GradiSeg Table 3 (Gaussian Grouping's)",
    )
    test_every: int = option(
        8,
        "Every n-th image by name (2.jpg before 10.jpg), first included, is a test view (where no "
        "split is given).",
        unit="images",
        source="3DGS's evaluation on Mip-NeRF 360",
        ge=2,
    )
    demo: DemoConfig = option(DemoConfig(), "Parameters of the embedded scene.")

    @property
    def shipped(self) -> bool:
        """Whether the scene is the embedded one as it lies in :data:`DEMO_FOLDER`."""
        return self.source == "demo" and self.demo == DemoConfig()

    @model_validator(mode="after")
    def _path_fits_source(self) -> SceneConfig:
        if self.source == "demo" and self.path is not None:
            raise ValueError("path is set, but source is 'demo': set source to 'folder'")
        if (self.source == "copy") != (self.of is not None):
            raise ValueError(
                "`of` names the scene that `source: copy` takes; "
                + ("`of` is missing" if self.of is None else f"source is '{self.source}'")
            )
        published = scenes_of(self.source)
        if self.dataset is not None:
            if not published:
                raise ValueError(
                    f"dataset is set, but source is '{self.source}': set source to 'lerf_mask' or "
                    "'mipnerf360'"
                )
            if self.path is not None:
                raise ValueError("path and dataset are both set: keep one of them")
            if self.dataset not in published:
                raise ValueError(
                    f"'{self.dataset}' is no scene of {self.source}"
                    f"{nearest(self.dataset, published)}"
                )
        elif self.source == "copy":
            if self.path is not None:
                raise ValueError("path is set, but source is 'copy', which takes another scene's")
        elif self.source != "demo" and self.path is None:
            instead = ", or dataset, a published scene to download" if published else ""
            raise ValueError(
                f"source '{self.source}' needs path, the folder of the photographs{instead}"
            )
        return self
