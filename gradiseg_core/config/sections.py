"""The sections of the configuration file, and what a scene may override.

Each section has a module of its own beside this one; :mod:`gradiseg_core.config.root` loads the
file and merges the sections of each scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeInt

from gradiseg_core.config.backends import BackendConfig, section_of
from gradiseg_core.config.base import InputPath, OutputPath, Section, option
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.edits import Edits
from gradiseg_core.config.exports import Exports
from gradiseg_core.config.geometry import GeometryConfig
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.quality import Quality
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.scene import SceneConfig, Source
from gradiseg_core.config.tables import TablesConfig
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import OwnVariant
from gradiseg_core.config.view import ViewConfig

if TYPE_CHECKING:
    MasksSection = MasksConfig
    TrackingSection = TrackingConfig
    GroundingSection = GroundingConfig
else:  # the sections of the file, with the options of all backends
    MasksSection = section_of(MasksConfig)
    TrackingSection = section_of(TrackingConfig)
    GroundingSection = section_of(GroundingConfig)

#: Models of the stages that have backends, by their sections.
WITH_BACKENDS: dict[type[Section], type[BackendConfig]] = {
    MasksSection: MasksConfig,
    TrackingSection: TrackingConfig,
    GroundingSection: GroundingConfig,
}

#: Sections that hold for all scenes and that a scene may override, in the order of the stages.
SCENE_STAGES: dict[str, type[Section]] = {
    "colmap": ColmapConfig,
    "geometry": GeometryConfig,
    "masks": MasksSection,
    "tracking": TrackingSection,
    "tracking_2d": TrackingSection,
    "train": TrainConfig,
    "render": RenderConfig,
    "grounding": GroundingSection,
    "second_grounding": GroundingSection,
    "metrics": MetricsConfig,
}


class SceneEntry(SceneConfig):
    """One scene: where its photographs come from, and its changes to the other sections."""

    removed: ClassVar[dict[str, str]] = {
        "demo": "is no longer a key: the embedded scene lies in resources/demo, and other tables "
        "belong to the studies: write `studies: {tabletops: ...}`, as studies/config/made.yaml "
        "does, and name their folder in `path`",
    }

    source: Source = option(
        "folder",
        "`folder`: photographs or videos; `lerf_mask`, `mipnerf360`: the layouts of these "
        "datasets; `demo`: the embedded scene; `copy`: another scene's (`of`).",
    )
    quality: Quality | None = option(None, "That of this scene; null: the whole file's.")
    variants: tuple[str, ...] | None = option(
        None, "Those of this scene; null: the whole file's.", min_length=1
    )
    seeds: tuple[NonNegativeInt, ...] | None = option(
        None, "Those of this scene; null: the whole file's.", min_length=1
    )
    baseline_2d: bool | None = option(None, "That of this scene; null: the whole file's.")
    colmap: ColmapConfig | None = option(None, "Overrides of section `colmap` for this scene.")
    geometry: GeometryConfig | None = option(None, "Overrides of section `geometry`.")
    masks: MasksSection | None = option(None, "Overrides of section `masks` for this scene.")
    tracking: TrackingSection | None = option(None, "Overrides of section `tracking`.")
    tracking_2d: TrackingSection | None = option(None, "Overrides of section `tracking_2d`.")
    train: TrainConfig | None = option(None, "Overrides of section `train` for this scene.")
    render: RenderConfig | None = option(None, "Overrides of section `render` for this scene.")
    grounding: GroundingSection | None = option(None, "Overrides of section `grounding`.")
    second_grounding: GroundingSection | None = option(
        None, "Overrides of section `second_grounding`, or the section for this scene alone."
    )
    metrics: MetricsConfig | None = option(None, "Overrides of section `metrics` for this scene.")
    edits: Edits | None = option(
        None, "Further edits of this scene, or others in place of the whole file's."
    )
    exports: Exports | None = option(
        None, "Further exports of this scene, or others in place of the whole file's."
    )


class RootConfig(Section):
    """The configuration file. Only `scenes` is required."""

    scenes: dict[str, SceneEntry] = option(..., "The scenes by name.", min_length=1)
    absent_scenes: Literal["error", "skip"] = option(
        "error",
        "A scene without its photographs is an `error`, or left out and missing in the paper's "
        "tables (`skip`).",
    )
    quality: Quality = option(
        "paper",
        "How much is trained where nothing else is written. `paper`: the defaults of the keys. "
        "`draft`, `standard`: `gradiseg_plus` alone, sized by machine and scene, on two cores for "
        "about 8 and 30 minutes in all.",
    )
    variants: tuple[str, ...] = option(
        ("baseline", "igd", "la_knn", "gradiseg"),
        "Trainings to compare: Gaussian Grouping (`baseline`), with `igd`, with `la_knn`, with "
        "both (`gradiseg`), beyond the paper (`gradiseg_plus`), `own_variants`.",
        source="GradiSeg Table 4",
        min_length=1,
    )
    own_variants: dict[str, OwnVariant] = option(
        {},
        "Your own variants by name.",
    )
    seeds: tuple[NonNegativeInt, ...] = option(
        (0,),
        "Every variant is trained once with each; tables give mean and deviation.",
        min_length=1,
    )
    preparation_seed: int = option(0, "Seed of the stages that run once for each scene.", ge=0)
    baseline_2d: bool = option(
        False,
        "Also score tracked masks of the test views, without Gaussians.",
        source="GradiSeg Table 1, row DEVA",
    )
    made: tuple[InputPath, ...] = option(
        (),
        "Folders that rules of an including workflow make; they may be named before they exist.",
    )
    results: OutputPath = option("results", "Folder that everything is written to.")
    downloads: DownloadsConfig = option(
        DownloadsConfig(), "What is fetched from the network: weights and datasets."
    )
    colmap: ColmapConfig = option(ColmapConfig(), "Stage 2, structure from motion.")
    geometry: GeometryConfig = option(
        GeometryConfig(), "The scene's surface, for `tracking: {backend: geometry}`."
    )
    masks: MasksSection = option(MasksSection(), "Stage 3, segments of each view.")
    tracking: TrackingSection = option(TrackingSection(), "Stage 4, one ID per object.")
    tracking_2d: TrackingSection | None = option(
        None,
        "For `baseline_2d`: changes to section `tracking`, such as `backend`.",
    )
    train: TrainConfig = option(TrainConfig(), "Stage 5, Gaussians with identities.")
    render: RenderConfig = option(RenderConfig(), "Stage 6, pictures of the test views.")
    grounding: GroundingSection = option(GroundingSection(), "Stage 7, from prompts to IDs.")
    second_grounding: GroundingSection | None = option(
        None,
        "A second grounding of the same trainings, scored beside the first: changes to section "
        "`grounding`.",
        source="GradiSeg Tables 1 and 2",
    )
    metrics: MetricsConfig = option(MetricsConfig(), "Stage 8, scores.")
    tables: TablesConfig = option(TablesConfig(), "Stage 9, tables.")
    view: ViewConfig = option(ViewConfig(), "The page of a run, which target `views` makes.")
    edits: Edits = option(
        {},
        "Edits by name. `snakemake --cores all edits` makes all, `edit_<name>` one.",
    )
    exports: Exports = option(
        {},
        "Exports by name. `snakemake --cores all exports` makes them.",
    )
