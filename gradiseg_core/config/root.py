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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradiseg_core.config import checks
from gradiseg_core.config.backends import chosen
from gradiseg_core.config.base import AS_LAYER, Section
from gradiseg_core.config.edits import Operation, own_files
from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.config.layers import Layer, conflicts, resolve
from gradiseg_core.config.messages import explain, nearest
from gradiseg_core.config.mistakes import InvalidConfigError, refused, with_others
from gradiseg_core.config.overlaps import overlaps, reserved_variants, wrong_results
from gradiseg_core.config.quality import (
    FRAMES,
    Budget,
    BudgetOf,
    budgets_of,
    kept_or_usual,
    lay_below,
    usual_variants,
)
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.config.sections import SCENE_STAGES, WITH_BACKENDS, RootConfig, SceneEntry
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
from gradiseg_core.config.written import layers_of, where_written
from gradiseg_core.errors import ConfigError


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
        budgets: Per scene of `quality` draft or standard, what that means.
    """

    root: RootConfig
    scenes: Mapping[str, Mapping[str, Section]]
    variants: Mapping[str, OwnVariant]
    trainings: Mapping[str, Mapping[str, TrainConfig]]
    absent: Mapping[str, str]
    unused: tuple[str, ...] = ()
    budgets: Mapping[str, Budget] = field(default_factory=dict)

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
        return tuple(self.trainings[scene])

    def seeds_of(self, scene: str) -> tuple[int, ...]:
        """Return the seeds of a scene."""
        return self.root.scenes[scene].seeds or self.root.seeds

    def edits_of(self, scene: str) -> dict[str, tuple[Operation, ...]]:
        """Return the edits of a scene by name: the whole file's, then its own."""
        return _edits_of(self.root, scene)

    def steps_of(self, scene: str) -> list[Operation]:
        """Return the operations of all edits of a scene."""
        return _steps(self.root, scene)

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
    raw: Mapping[str, Any],
    folder: Path | None = None,
    reserved: Iterable[str] = (),
    budget_of: BudgetOf = kept_or_usual,
) -> Settings:
    """Validate a configuration and resolve it per scene.

    Args:
        raw: The parsed file.
        folder: Start of relative paths; the working directory by default.
        reserved: Names that no scene may have, besides those of the sections.
        budget_of: Says what the quality of a scene means.

    Raises:
        ConfigError: With one line for every problem found, each naming the full key.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError("the configuration must be a mapping (key: value)")

    def checked(raw: Mapping[str, Any]) -> Settings:
        return _load(raw, folder or Path(), reserved, budget_of)

    try:
        return checked(raw)
    except InvalidConfigError as error:
        raise with_others(error, raw, checked) from error


def _load(
    raw: Mapping[str, Any], folder: Path, reserved: Iterable[str], budget_of: BudgetOf
) -> Settings:
    """As :func:`load`, up to the first step that finds something wrong."""
    taken = {*RootConfig.model_fields, "scene", *reserved}
    refused([*checks.scene_names(raw.get("scenes"), taken), *_wrong_keys(raw)])

    root = RootConfig.model_validate(raw, context=AS_LAYER)
    refused(checks.copies(root.scenes))
    unused = _unused(raw)
    absent = _absent(root, folder)
    if absent:
        raw = {**raw, "scenes": {n: e for n, e in raw["scenes"].items() if n not in absent}}
        root = RootConfig.model_validate(raw, context=AS_LAYER)
    root = _with_frames(root)
    known = definitions(raw)
    refused(_of_names(root, known, folder))

    problems = _of_edits_and_exports(raw, root, folder)
    trainings: dict[str, dict[str, TrainConfig]] = {}
    scenes: dict[str, dict[str, Section]] = {}
    budgets = _budgets(root, folder, budget_of)
    of_scenes = {
        name: entry.variants or usual_variants(raw, root.variants, budgets.get(name))
        for name, entry in root.scenes.items()
    }
    for name in root.scenes:
        layers = {stage: layers_of(raw, name, stage) for stage in SCENE_STAGES}
        own = {variant: known[variant] for variant in of_scenes[name]}
        if name in budgets:
            lay_below(layers, budgets[name], own.values())
        scenes[name], found = _sections(layers, root, name)
        trainings[name], of_variants = _trainings(layers["train"], own)
        problems += found + of_variants
    refused(problems)

    of_files = {n: _of_files(root, n, scenes, trainings[n], folder) for n in scenes}
    refused(_where_written(raw, of_files))
    clashes = overlaps(
        {name: _used(sections, root, name) for name, sections in scenes.items()},
        of_scenes,
        Path(root.results),
        Path(root.downloads.folder),
        folder,
    )
    refused(_where_written(raw, clashes))
    variants = {
        name: OwnVariant.model_validate(entry, context=AS_LAYER) for name, entry in known.items()
    }
    return Settings(root, scenes, variants, trainings, absent, unused, budgets)


def _budgets(root: RootConfig, folder: Path, budget_of: BudgetOf) -> dict[str, Budget]:
    """Return the budgets of the scenes whose quality has one."""
    sources = {name: _without_overrides(entry) for name, entry in root.scenes.items()}
    qualities = {name: entry.quality or root.quality for name, entry in root.scenes.items()}
    devices = {name: _device_of(root, entry) for name, entry in root.scenes.items()}
    return budgets_of(sources, qualities, folder / root.results, folder, devices, budget_of)


def _device_of(root: RootConfig, entry: SceneEntry) -> str:
    """Return where a scene is trained, as far as it is written."""
    own = entry.train
    written = own if own is not None and "device" in own.model_fields_set else root.train
    return written.device


def _with_frames(root: RootConfig) -> RootConfig:
    """Return the file with the frames of videos by quality, where none are written."""
    scenes = {}
    for name, entry in root.scenes.items():
        frames = FRAMES.get(entry.quality or root.quality)
        written = "frames" in entry.model_fields_set
        usual = {} if frames is None or written else {"frames": frames}
        scenes[name] = entry.model_copy(update=usual)
    return root.model_copy(update={"scenes": scenes})


def _absent(root: RootConfig, folder: Path) -> dict[str, str]:
    """Return the scenes to leave out because their photographs are not there, and why.

    Raises:
        ConfigError: If no scene is left.
    """
    if root.absent_scenes == "error":
        return {}
    absent = checks.absent(root.scenes, root.downloads, folder, root.made)
    if len(absent) == len(root.scenes):
        refused([f"scenes.{name}: {why}; no scene is left" for name, why in absent.items()])
    return absent


def _of_names(root: RootConfig, known: Mapping[str, Any], folder: Path) -> list[str]:
    """Return problems with the names of variants, the lists of them, and the folder of results."""
    problems = shadowed(root.own_variants) + reserved_variants(list(root.own_variants))
    problems += wrong_results("results", folder / root.results)
    problems += _lists("", root, known)
    for name, scene in root.scenes.items():
        problems += _lists(f"scenes.{name}.", scene, known)
    return problems


def _of_edits_and_exports(raw: Mapping[str, Any], root: RootConfig, folder: Path) -> list[str]:
    """Return problems with the edits and exports of the file and of its scenes."""
    problems = [*_exports("", raw, root, folder), *_edits("", root, folder)]
    for name, scene in root.scenes.items():
        problems += _edits(f"scenes.{name}.", scene, folder)
        problems += _exports(f"scenes.{name}.", raw["scenes"][name], scene, folder)
        problems += _missing_edits(root, name)
    return problems


def _sections(
    layers: Mapping[str, Sequence[Layer]], root: RootConfig, name: str
) -> tuple[dict[str, Section], list[str]]:
    """Return the merged sections of a scene by stage, and what conflicts in those that run."""
    sections: dict[str, Section] = {"scene": _without_overrides(root.scenes[name])}
    for stage, model in SCENE_STAGES.items():
        sections[stage] = resolve(model, layers[stage])
    problems = []
    for stage, section in _used(sections, root, name).items():
        if stage not in ("scene", "train"):  # what is trained are variants
            problems += conflicts(section, layers[stage])
    return {stage: _chosen(section) for stage, section in sections.items()}, problems


def _trainings(
    of_train: Sequence[Layer], variants: Mapping[str, Any]
) -> tuple[dict[str, TrainConfig], list[str]]:
    """Return section `train` of a scene for each of its variants, and what conflicts in them."""
    trainings = {}
    problems = []
    for variant, definition in variants.items():
        layers = [*of_train, layer_of(variant, definition)]
        trainings[variant] = resolve(TrainConfig, layers)
        problems += conflicts(trainings[variant], layers) + contradicted(variant, layers)
    return trainings, problems


def _of_files(
    root: RootConfig,
    name: str,
    scenes: Mapping[str, Mapping[str, Section]],
    trainings: Mapping[str, TrainConfig],
    folder: Path,
) -> list[str]:
    """Return problems with what the sections of a scene read, and with a second grounding.

    Args:
        root: The file.
        name: The scene's name.
        scenes: The sections of all scenes.
        trainings: Section `train` of the scene for each variant.
        folder: What relative paths start from.
    """
    used = _used(scenes[name], root, name)
    source = scenes[name]["scene"]
    assert isinstance(source, SceneConfig)
    if source.of is not None:
        used = {**used, "scene": scenes[source.of]["scene"]}
    problems = checks.files(name, used, folder, root.made)
    for training in trainings.values():  # a variant may name files of its own
        problems += checks.files(name, {**used, "train": training}, folder, root.made)
        problems += checks.surface_of_terms(name, used, training.terms_on_geometry)
    problems += checks.offline(name, used, root.downloads, folder, _steps(root, name))
    return problems + checks.same_grounding_twice(name, used)


def _chosen(section: Section) -> Section:
    """Return a stage's configuration without the backends that were not chosen."""
    model = WITH_BACKENDS.get(type(section))
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
    scene, edits = root.scenes[name], _edits_of(root, name)
    for prefix, holder in (("", root), (f"scenes.{name}.", scene)):
        for export, config in (holder.exports or {}).items():
            if config.edit is not None and config.edit not in edits:
                yield (
                    f"{prefix}exports.{export}.edit: scene {name} has no edit "
                    f"'{config.edit}'{nearest(config.edit, edits)}"
                )


def _exports(
    prefix: str, raw: Mapping[str, Any], holder: RootConfig | SceneEntry, folder: Path
) -> Iterator[str]:
    """Yield what is wrong with a file's or a scene's exports: keys that conflict, no such file."""
    for name, config in (holder.exports or {}).items():
        yield from conflicts(config, [Layer(f"{prefix}exports.{name}", raw["exports"][name])])
        for file in (selection.file for selection in config.stored):
            if not (folder / file).is_file():
                yield f"{prefix}exports.{name}.objects: no such file: {file}"


def _edits(prefix: str, holder: RootConfig | SceneEntry, folder: Path) -> Iterator[str]:
    """Yield the files that a file's or a scene's edits name and that are not there."""
    for name, edit in (holder.edits or {}).items():
        for key, path in own_files(edit):
            if not (folder / path).is_file():
                kind = "picture" if key.endswith(".like") else "file"
                yield f"{prefix}edits.{name}{key}: no such {kind}: {path}"


def _edits_of(root: RootConfig, scene: str) -> dict[str, tuple[Operation, ...]]:
    """Return the edits of a scene by name: the whole file's, then its own."""
    return {**root.edits, **(root.scenes[scene].edits or {})}


def _steps(root: RootConfig, scene: str) -> list[Operation]:
    """Return the operations of all edits of a scene."""
    return [step for edit in _edits_of(root, scene).values() for step in edit]


def _used(sections: Mapping[str, Section], root: RootConfig, scene: str) -> dict[str, Section]:
    entry = root.scenes[scene]
    tracks = root.baseline_2d if entry.baseline_2d is None else entry.baseline_2d
    second = root.second_grounding is not None or entry.second_grounding is not None
    runs = {"tracking_2d": tracks, "second_grounding": second}
    trackers = [sections["tracking"], *([sections["tracking_2d"]] if tracks else [])]
    # Sections of the file hold no chosen options yet: any backend by its name.
    runs["geometry"] = any(getattr(one, "backend", None) == "geometry" for one in trackers)
    return {stage: section for stage, section in sections.items() if runs.get(stage, True)}


def _unused(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of backends that no scene uses; scenes without photographs count."""
    used: dict[str, set[str]] = {}
    layers: list[tuple[str, Layer]] = []
    for section, of_file in SCENE_STAGES.items():
        model = WITH_BACKENDS.get(of_file)
        if model is None:
            continue
        for scene in raw["scenes"]:
            places = layers_of(raw, scene, section)
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
    return checks.booleans_as_numbers(raw, root)


def _where_written(raw: Mapping[str, Any], problems: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the problems of every scene, naming the places where the user wrote the keys."""
    return [
        where_written(line, raw, scene, SCENE_STAGES)
        for scene, lines in problems.items()
        for line in lines
    ]


def _without_overrides(entry: SceneEntry) -> SceneConfig:
    return SceneConfig.model_validate(
        {name: getattr(entry, name) for name in SceneConfig.model_fields}
    )
