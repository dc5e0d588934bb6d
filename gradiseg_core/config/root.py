"""The whole configuration: load, validate, and resolve the sections of each scene.

A section of ``config.yaml`` holds for all scenes; a scene may override any of its keys:

    train: {iterations: 2000}
    scenes:
      kitchen:
        path: photos/kitchen
        train: {iterations: 7000}

Overriding keys are merged over the section, key by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, NonNegativeInt, ValidationError

from gradiseg_core.config import checks
from gradiseg_core.config.backends import BackendConfig, chosen, section_of
from gradiseg_core.config.base import AS_LAYER, Section, option
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.edits import Edits, Operation, Style
from gradiseg_core.config.exports import ExportConfig, Exports
from gradiseg_core.config.geometry import GeometryConfig
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.layers import Layer, conflicts, resolve, written_in
from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.config.messages import explain, nearest
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.overlaps import overlaps, reserved_variants, wrong_results
from gradiseg_core.config.paths import InputPath, OutputPath
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.scene import SceneConfig, Source
from gradiseg_core.config.tables import TablesConfig
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.config.train import AUTO_CLASSES, TrainConfig
from gradiseg_core.config.unused import unused_options
from gradiseg_core.config.variants import (
    OwnVariant,
    contradicted,
    definitions,
    layer_of,
    shadowed,
    wrong_names,
)
from gradiseg_core.config.view import ViewConfig
from gradiseg_core.errors import ConfigError

if TYPE_CHECKING:
    MasksSection = MasksConfig
    TrackingSection = TrackingConfig
    GroundingSection = GroundingConfig
else:  # the sections of the file, with the options of all backends
    MasksSection = section_of(MasksConfig)
    TrackingSection = section_of(TrackingConfig)
    GroundingSection = section_of(GroundingConfig)

#: Models of the stages that have backends, by their sections.
_WITH_BACKENDS: dict[type[Section], type[BackendConfig]] = {
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

#: Sections that only change another one.
_DIFFER_FROM = {"tracking_2d": "tracking", "second_grounding": "grounding"}


class SceneEntry(SceneConfig):
    """One scene: where its photographs come from, and its changes to the other sections."""

    removed: ClassVar[dict[str, str]] = {
        "demo": "is no longer a key: the embedded scene lies in resources/demo, and other tables "
        "belong to the studies: write `studies: {tabletops: ...}`, as studies/config/made.yaml "
        "does, and name their folder in `path`",
    }

    source: Source = option(
        "folder",
        "`folder`: a folder of photographs; `lerf_mask`, `mipnerf360`: the layouts of these "
        "datasets; `demo`: the embedded scene; `copy`: another scene's (`of`).",
    )
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
        "What a scene without its photographs is: an `error`, or left out and missing in the "
        "paper's tables (`skip`).",
    )
    variants: tuple[str, ...] = option(
        ("baseline", "igd", "la_knn", "gradiseg"),
        "Trainings to compare: Gaussian Grouping (`baseline`), with IGD (`igd`), with LA-KNN "
        "(`la_knn`), with both (`gradiseg`), beyond the paper (`gradiseg_plus`), and "
        "`own_variants`.",
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
        "Folders that rules of an including workflow make; `path` and `folder` may name them, or "
        "what is in them, before they exist.",
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


@dataclass(frozen=True)
class Settings:
    """A validated configuration.

    Attributes:
        root: The file with defaults; for sections that scenes may override use ``scenes``.
        scenes: Per scene, the model of every stage with the scene's overrides merged in; the scene
            source itself is under ``"scene"``.
        variants: Every variant that may be named.
        trainings: Per scene and variant, the training parameters.
        absent: Scenes that were left out because their photographs are not there, and why.
        unused: Options that have no effect, a line each.
    """

    root: RootConfig
    scenes: Mapping[str, Mapping[str, Section]]
    variants: Mapping[str, OwnVariant]
    trainings: Mapping[str, Mapping[str, TrainConfig]]
    absent: Mapping[str, str]
    unused: tuple[str, ...] = ()

    def section(self, scene: str, stage: str, variant: str | None = None) -> Section:
        """Return the model of one stage for one scene.

        Args:
            scene: Name of the scene.
            stage: Name of the section.
            variant: For ``train``: that of this variant; modules that it leaves out are None.
        """
        if stage == "train" and variant is not None:
            return self.trainings[scene][variant]
        return self.scenes[scene][stage]

    def variants_of(self, scene: str) -> tuple[str, ...]:
        """Return the variants that are trained on a scene."""
        return self.root.scenes[scene].variants or self.root.variants

    def seeds_of(self, scene: str) -> tuple[int, ...]:
        """Return the seeds of a scene."""
        return self.root.scenes[scene].seeds or self.root.seeds

    def edits_of(self, scene: str) -> dict[str, tuple[Operation, ...]]:
        """Return the edits of a scene by name: the whole file's, then its own."""
        return {**self.root.edits, **(self.root.scenes[scene].edits or {})}

    def all_edits(self) -> list[str]:
        """Return the names of the edits of all scenes."""
        return list(dict.fromkeys(name for scene in self.scenes for name in self.edits_of(scene)))

    def exports_of(self, scene: str) -> dict[str, ExportConfig]:
        """Return the exports of a scene by name: the whole file's, then its own."""
        return {**self.root.exports, **(self.root.scenes[scene].exports or {})}

    def all_variants(self) -> list[str]:
        """Return the variants of all scenes."""
        return list(dict.fromkeys(v for scene in self.scenes for v in self.variants_of(scene)))

    def all_seeds(self) -> list[int]:
        """Return the seeds of all scenes."""
        return list(dict.fromkeys(n for scene in self.scenes for n in self.seeds_of(scene)))

    def labels(self) -> dict[str, str]:
        """Return the table names of trained variants that have one."""
        named = {name: self.variants[name].label for name in self.all_variants()}
        return {name: label for name, label in named.items() if label}

    def origin(self, scene: str) -> SceneConfig:
        """Return where the scene's photographs come from: another scene's source for a copy."""
        section = self.section(scene, "scene")
        assert isinstance(section, SceneConfig)
        return section if section.of is None else self.origin(section.of)

    def used_sections(self, scene: str) -> dict[str, Section]:
        """Return the models of the stages that run, by name."""
        return _used(self.scenes[scene], self.root, scene)

    def uses(self, scene: str, stage: str) -> bool:
        """Whether an optional stage, `tracking_2d` or `second_grounding`, runs for a scene."""
        return stage in self.used_sections(scene)

    def num_classes(self, scene: str) -> int:
        """Return the number of classes of the scene's classifier, background included."""
        train = self.section(scene, "train")
        assert isinstance(train, TrainConfig)
        return AUTO_CLASSES if train.num_classes == "auto" else train.num_classes

    def resolve(self, scene: str, stage: str, variant: str | None = None) -> dict[str, Any]:
        """Return :meth:`section` as plain data, all defaults filled in."""
        return self.section(scene, stage, variant).model_dump(mode="json")


def load(
    raw: Mapping[str, Any], folder: Path | None = None, reserved: Iterable[str] = ()
) -> Settings:
    """Validate a configuration and resolve it per scene.

    Args:
        raw: The parsed file.
        folder: Start of relative paths; the working directory by default.
        reserved: Names that no scene may have, besides those of the sections.

    Raises:
        ConfigError: With one line for every problem found, each naming the full key.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError("the configuration must be a mapping (key: value)")
    taken = {*RootConfig.model_fields, "scene", *reserved}
    problems = checks.scene_names(raw.get("scenes"), taken)
    problems += _wrong_keys(raw)
    _refuse(problems)

    root = RootConfig.model_validate(raw, context=AS_LAYER)
    problems = checks.copies(root.scenes)
    _refuse(problems)
    unused = _unused(raw)
    absent: dict[str, str] = {}
    if root.absent_scenes == "skip":
        absent = checks.absent(root.scenes, root.downloads, folder or Path(), root.made)
        if len(absent) == len(root.scenes):
            _refuse([f"scenes.{name}: {why}; no scene is left" for name, why in absent.items()])
        raw = {**raw, "scenes": {n: e for n, e in raw["scenes"].items() if n not in absent}}
        root = RootConfig.model_validate(raw, context=AS_LAYER)
    known = definitions(raw)
    problems = shadowed(root.own_variants) + reserved_variants(list(root.own_variants))
    problems += wrong_results("results", (folder or Path()) / root.results)
    problems += _lists("", root, known)
    for name, scene in root.scenes.items():
        problems += _lists(f"scenes.{name}.", scene, known)
    _refuse(problems)
    problems += _exports("", raw, root)
    problems += _edits("", root, folder or Path())
    for name, scene in root.scenes.items():
        problems += _edits(f"scenes.{name}.", scene, folder or Path())
        problems += _exports(f"scenes.{name}.", raw["scenes"][name], scene)
        problems += _missing_edits(root, name)
    trainings: dict[str, dict[str, TrainConfig]] = {}
    scenes: dict[str, dict[str, Section]] = {}
    for name in root.scenes:
        scenes[name] = {"scene": _without_overrides(root.scenes[name])}
        for stage, model in SCENE_STAGES.items():
            scenes[name][stage] = resolve(model, _layers(raw, name, stage))
        for stage, section in _used(scenes[name], root, name).items():
            if stage not in ("scene", "train"):  # what is trained are variants
                problems += conflicts(section, _layers(raw, name, stage))
        scenes[name] = {stage: _chosen(section) for stage, section in scenes[name].items()}
        trainings[name] = {}
        for variant in root.scenes[name].variants or root.variants:
            layers = [*_layers(raw, name, "train"), layer_of(variant, known[variant])]
            trainings[name][variant] = resolve(TrainConfig, layers)
            problems += conflicts(trainings[name][variant], layers) + contradicted(variant, layers)
    _refuse(problems)

    for name, sections in scenes.items():
        used = _used(sections, root, name)
        source = sections["scene"]
        assert isinstance(source, SceneConfig)
        if source.of is not None:
            used = {**used, "scene": scenes[source.of]["scene"]}
        found = checks.files(name, used, folder or Path(), root.made)
        for training in trainings[name].values():  # a variant may name files of its own
            found += checks.files(name, {**used, "train": training}, folder or Path(), root.made)
        found += checks.offline(name, used, root.downloads, folder or Path())
        found += checks.same_grounding_twice(name, used)
        problems += [_where_written(line, raw, name) for line in found]
    _refuse(problems)
    own = {name: _used(sections, root, name) for name, sections in scenes.items()}
    of_scenes = {name: root.scenes[name].variants or root.variants for name in root.scenes}
    clashes = overlaps(
        own, of_scenes, Path(root.results), Path(root.downloads.folder), folder or Path()
    )
    _refuse([_where_written(line, raw, name) for name in clashes for line in clashes[name]])
    variants = {
        name: OwnVariant.model_validate(entry, context=AS_LAYER) for name, entry in known.items()
    }
    return Settings(root, scenes, variants, trainings, absent, unused)


def _chosen(section: Section) -> Section:
    """Return a stage's configuration without the backends that were not chosen."""
    model = _WITH_BACKENDS.get(type(section))
    return section if model is None else chosen(model, section)


def _lists(prefix: str, holder: RootConfig | SceneEntry, known: Mapping[str, Any]) -> list[str]:
    """Return problems with a file's or a scene's lists of variants and seeds."""
    return (
        wrong_names(f"{prefix}variants", holder.variants or (), known, checks.SAFE_NAME)
        + checks.repeated(f"{prefix}variants", holder.variants or ())
        + checks.repeated(f"{prefix}seeds", holder.seeds or ())
    )


def _missing_edits(root: RootConfig, name: str) -> Iterator[str]:
    """Yield the exports of a scene that are of edits that it does not have."""
    scene = root.scenes[name]
    edits = {**root.edits, **(scene.edits or {})}
    for prefix, holder in (("", root), (f"scenes.{name}.", scene)):
        for export, config in (holder.exports or {}).items():
            if config.edit is not None and config.edit not in edits:
                yield (
                    f"{prefix}exports.{export}.edit: scene {name} has no edit "
                    f"'{config.edit}'{nearest(config.edit, edits)}"
                )


def _exports(prefix: str, raw: Mapping[str, Any], holder: RootConfig | SceneEntry) -> Iterator[str]:
    """Yield what does not go together in a file's or a scene's exports."""
    for name, config in (holder.exports or {}).items():
        yield from conflicts(config, [Layer(f"{prefix}exports.{name}", raw["exports"][name])])


def _edits(prefix: str, holder: RootConfig | SceneEntry, folder: Path) -> Iterator[str]:
    """Yield the pictures that a file's or a scene's edits name and that are not there."""
    for name, edit in (holder.edits or {}).items():
        for index, step in enumerate(edit):
            if isinstance(step, Style) and not (folder / step.like).is_file():
                yield f"{prefix}edits.{name}[{index}].like: no such picture: {step.like}"


def _used(sections: Mapping[str, Section], root: RootConfig, scene: str) -> dict[str, Section]:
    entry = root.scenes[scene]
    tracks = root.baseline_2d if entry.baseline_2d is None else entry.baseline_2d
    second = root.second_grounding is not None or entry.second_grounding is not None
    runs = {"tracking_2d": tracks, "second_grounding": second}
    trackers = [sections["tracking"], *([sections["tracking_2d"]] if tracks else [])]
    # Sections of the file hold no chosen options yet: any backend by its name.
    runs["geometry"] = any(getattr(one, "backend", None) == "geometry" for one in trackers)
    return {stage: section for stage, section in sections.items() if runs.get(stage, True)}


def _layers(raw: Mapping[str, Any], scene: str, stage: str) -> list[Layer]:
    """Return the layers of a scene's section, the last on top, and a default that depends on them.

    Args:
        raw: The parsed configuration file, valid.
        scene: Name of the scene.
        stage: Name of the section.
    """
    if stage in _DIFFER_FROM:
        layers = _layers(raw, scene, _DIFFER_FROM[stage])
    else:
        layers = _defaults(raw, scene, stage)
    layers.append(Layer(stage, raw.get(stage) or {}))
    layers.append(Layer(f"scenes.{scene}.{stage}", raw["scenes"][scene].get(stage) or {}))
    return layers


def _defaults(raw: Mapping[str, Any], scene: str, stage: str) -> list[Layer]:
    """Return what a section is where nothing is written, if that depends on other sections.

    Who writes of segments wants them joined; geometry would make no use of them.
    """
    if stage != "tracking":
        return []
    of_scene = raw["scenes"][scene]
    segments = any(holder.get("masks") for holder in (raw, of_scene))
    joining = any("sfm" in (holder.get("tracking") or {}) for holder in (raw, of_scene))
    if not (segments or joining):
        return []
    where = "`masks` is written" if segments else "`tracking.sfm` is written"
    return [Layer(f"the defaults where {where}", {"backend": "sfm"}, ships=True)]


def _unused(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of backends that no scene uses; scenes without photographs count."""
    used: dict[str, set[str]] = {}
    layers: list[tuple[str, Layer]] = []
    for section, of_file in SCENE_STAGES.items():
        model = _WITH_BACKENDS.get(of_file)
        if model is None:
            continue
        for scene in raw["scenes"]:
            places = _layers(raw, scene, section)
            backends = chosen(model, resolve(of_file, places)).uses
            used.setdefault(model.stage, set()).update(backends)
            layers += [(model.stage, place) for place in places]
    return tuple(unused_options(layers, used))


def _wrong_keys(raw: Mapping[str, Any]) -> list[str]:
    """Return problems with single keys and types of values in a file."""
    try:
        root = RootConfig.model_validate(raw, context=AS_LAYER)
    except ValidationError as error:
        return explain(error, RootConfig)
    return _booleans_as_numbers(raw, root, "")


def _booleans_as_numbers(raw: Any, valid: Any, path: str) -> list[str]:
    """Name every key with ``true`` or ``false`` where a number is expected.

    Pydantic reads them as 1 and 0 (text such as "1e-3" must stay readable as a number: YAML 1.1
    takes it for a string).
    """
    if isinstance(raw, bool) and not isinstance(valid, bool):
        return [f"{path}: expected {type(valid).__name__}, got {raw}"]
    if isinstance(raw, Mapping) and isinstance(valid, list | tuple):
        raw = [raw]  # one entry, such as an edit of one operation, may be written without its list
    if isinstance(raw, Mapping):
        children = [
            (key, value, getattr(valid, key, None) if isinstance(valid, BaseModel) else valid[key])
            for key, value in raw.items()
            if value is not None  # null may leave an entry of a mapping out
        ]
    elif isinstance(raw, list | tuple) and isinstance(valid, list | tuple):
        children = list(zip(range(len(raw)), raw, valid, strict=True))
    else:
        return []
    return [
        line
        for key, value, below in children
        for line in _booleans_as_numbers(value, below, f"{path}.{key}" if path else str(key))
    ]


def _where_written(problem: str, raw: Mapping[str, Any], scene: str) -> str:
    """Replace a scene's key in a problem by the place where the user wrote the key.

    A key that was not written stays as it is: it may be added to the scene.
    """
    key, _, rest = problem.partition(": ")
    stage, _, below = key.removeprefix(f"scenes.{scene}.").partition(".")
    layer = written_in(below, _layers(raw, scene, stage)) if stage in SCENE_STAGES else None
    return problem if layer is None else f"{layer.path}.{below}: {rest}"


def _without_overrides(entry: SceneEntry) -> SceneConfig:
    return SceneConfig.model_validate(
        {name: getattr(entry, name) for name in SceneConfig.model_fields}
    )


def _refuse(problems: list[str]) -> None:
    if problems:
        unique = list(dict.fromkeys(problems))
        raise ConfigError("the configuration is not valid:\n  " + "\n  ".join(unique))
