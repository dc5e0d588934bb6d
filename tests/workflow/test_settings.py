"""What a valid configuration means: defaults, layers, variants, the files that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradiseg_core.config import docs, inputs
from gradiseg_core.config.layers import merge
from gradiseg_core.config.root import Settings, load
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.config.sections import SCENE_STAGES, RootConfig, SceneEntry
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import PRESETS
from gradiseg_core.errors import ConfigError
from gradiseg_core.files.id_maps import read_id_map
from tests.workflow.conftest import REPOSITORY

DEMO = {"scenes": {"demo": {"source": "demo"}}}


def test_the_simplest_scene(photos: Path) -> None:
    settings = load({"scenes": {"my_scene": {"path": "photos"}}}, photos)
    scene = settings.section("my_scene", "scene")
    assert isinstance(scene, SceneConfig)
    assert scene.source == "folder"
    assert settings.resolve("my_scene", "train") == TrainConfig().model_dump(mode="json")


def test_a_scene_that_brings_its_masks_needs_no_folder(photos: Path) -> None:
    lerf = {"a": {"source": "lerf_mask", "path": "lerf"}}
    load({"scenes": lerf, "masks": {"backend": "precomputed"}}, photos)


def test_overrides_are_merged_key_by_key() -> None:
    settings = load(
        {
            "train": {"iterations": 100, "losses": {"alpha": 0.5, "beta": 0.0}},
            "scenes": {
                "a": {"source": "demo", "train": {"losses": {"beta": 3.0}}},
                "b": {"source": "demo"},
            },
        }
    )
    a, b = settings.resolve("a", "train"), settings.resolve("b", "train")
    assert (a["iterations"], a["losses"]["alpha"], a["losses"]["beta"]) == (100, 0.5, 3.0)
    assert b["losses"]["beta"] == 0.0
    assert merge({"a": [1, 2], "b": 1}, {"a": [3]}) == {"a": [3], "b": 1}


def test_resolved_sections_are_plain_and_complete() -> None:
    settings = load(DEMO)
    for stage in (*SCENE_STAGES, "scene"):
        values = settings.resolve("demo", stage)
        assert json.loads(json.dumps(values)) == values
        section = settings.section("demo", stage)
        assert set(values) == set(type(section).model_fields)
        assert type(section)(**values) == section


@pytest.mark.parametrize(
    ("variant", "parts"),
    [
        ("baseline", set()),
        ("igd", {"igd"}),
        ("la_knn", {"la_knn"}),
        ("gradiseg", {"igd", "la_knn"}),
    ],
)
def test_a_variant_gets_the_parts_that_it_uses(variant: str, parts: set[str]) -> None:
    values = load(DEMO).resolve("demo", "train", variant)
    assert {part for part in ("igd", "la_knn") if values[part] is not None} == parts
    until = 10_000 if variant == "baseline" else 12_000
    assert values["densification"]["until"] == until
    whole = TrainConfig().model_dump(mode="json")
    whole["densification"]["until"] = until
    assert values == whole | dict.fromkeys({"igd", "la_knn"} - parts)


def test_own_variants_go_before_a_scenes_overrides() -> None:
    settings = load(
        {
            "scenes": {
                "a": {"source": "demo", "train": {"losses": {"beta": 1.0}, "iterations": 9}},
                "b": {"source": "demo", "variants": ["gradiseg_plus", "flat"], "seeds": [4, 5]},
            },
            "variants": ["baseline", "flat"],
            "own_variants": {
                "flat": {"label": "Flat", "train": {"losses": {"beta": 0}, "la_knn": None}}
            },
        }
    )
    flat = settings.resolve("a", "train", "flat")
    assert (flat["losses"]["beta"], flat["iterations"]) == (0.0, 9)
    assert flat["igd"] is not None
    assert flat["la_knn"] is None
    assert settings.resolve("a", "train", "baseline")["losses"]["beta"] == 1.0
    assert settings.resolve("b", "train", "gradiseg_plus")["losses"]["robustness"] > 0
    assert settings.labels()["flat"] == "Flat"
    assert "GradiSeg+" in settings.labels()["gradiseg_plus"]
    assert settings.variants_of("a") == ("baseline", "flat")
    assert settings.all_variants() == ["baseline", "flat", "gradiseg_plus"]
    assert settings.all_seeds() == [0, 4, 5]


@pytest.mark.parametrize(
    ("file", "scene", "variant", "expected"),
    [
        ({"quantile": 0.5}, {}, "gradiseg", (0.5, 12_000)),
        ({"quantile": 0.5}, {}, "baseline", None),
        ({}, {"quantile": 0.5}, "baseline", None),
        ({"quantile": 0.5}, {}, {"start": 6000}, (0.5, 6000)),
        ({"quantile": 0.5}, {"start": 6000}, {"quantile": 0.9}, (0.9, 6000)),
        ({"quantile": 0.5}, {"start": 6000}, None, None),
        ({"quantile": 0.5}, None, {}, (0.99, 12_000)),
        ({"quantile": 0.5}, None, {"start": 6000}, (0.99, 6000)),
        (None, {"quantile": 0.5}, {}, (0.5, 12_000)),
        (None, {"quantile": 0.5}, "gradiseg", (0.5, 12_000)),
        (None, {}, "baseline", None),
    ],
)
def test_null_takes_a_module_away_and_a_mapping_brings_it_back(
    file: dict | None, scene: dict | None, variant: str | dict | None, expected: tuple | None
) -> None:
    own = {} if isinstance(variant, str) else {"mine": {"train": {"igd": variant}}}
    name = variant if isinstance(variant, str) else "mine"
    raw = {
        "train": {"igd": file},
        "scenes": {"a": {"source": "demo", "train": {"igd": scene}}},
        "variants": [name],
        "own_variants": own,
    }
    igd = load(raw).resolve("a", "train", name)["igd"]
    assert (None if igd is None else (igd["quantile"], igd["start"])) == expected


def test_an_own_variant_keeps_to_what_the_file_leaves_out() -> None:
    raw = {
        **DEMO,
        "train": {"igd": None},
        "variants": ["baseline", "la_knn", "mine"],
        "own_variants": {"mine": {"train": {"losses": {"beta": 1}}}},
    }
    assert load(raw).resolve("demo", "train", "mine")["igd"] is None


def test_the_variants_that_ship_are_variants_as_users_write_them() -> None:
    own = {f"my_{name}": entry for name, entry in PRESETS.items()}
    raw = {**DEMO, "variants": [*PRESETS, *own], "own_variants": own}
    settings = load(raw)
    for name in PRESETS:
        assert settings.resolve("demo", "train", name) == settings.resolve(
            "demo", "train", f"my_{name}"
        )
        assert settings.labels()[name] == settings.labels()[f"my_{name}"]


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    raw = yaml.safe_load("scenes: {a: {source: demo}}\ntrain: {learning_rates: {means: 1e-4}}")
    assert raw["train"]["learning_rates"]["means"] == "1e-4"
    assert load(raw).resolve("a", "train")["learning_rates"]["means"] == 1e-4


def test_given_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    (photos / "photos" / ".hidden").write_bytes(b"")
    (photos / "lerf" / "unrelated").mkdir()
    (photos / "lerf" / "unrelated" / "b.png").write_bytes(b"")

    def names(settings: Settings, scene: str, stage: str) -> list[str]:
        return [path.as_posix() for path in inputs.given_files(settings.section(scene, stage))]

    raw = {"folder": {"path": "photos"}, "lerf": {"source": "lerf_mask", "path": "lerf"}}
    raw["lerf"]["tracking"] = {"backend": "precomputed", "precomputed": {"folder": "ids"}}  # type: ignore[assignment]
    settings = load(
        {"scenes": raw, "grounding": {"backend": "manual", "manual": {"selection": "not_yet.json"}}}
    )
    assert names(settings, "folder", "scene") == ["photos/a.png"]
    assert names(settings, "lerf", "scene") == [
        "lerf/images/a.png",
        "lerf/images_train/a.png",
        "lerf/object_mask/a.png",
    ]
    assert names(settings, "lerf", "tracking") == ["ids/a.png"]
    assert names(settings, "folder", "tracking") == []
    assert names(settings, "folder", "grounding") == []


def test_clicks_of_a_scene_are_laid_over_those_of_all(photos: Path) -> None:
    """Prompt by prompt and photograph by photograph; a folder's clicked names are its prompts."""
    own = {"prompts": {"cup": {"a.png": [5, 6]}, "pot": {"a": [[1, 2], [3, 4]]}}}
    raw = {
        "scenes": {"a": {"path": "photos", "grounding": {"clicks": own}}, "b": {"path": "photos"}},
        "grounding": {
            "backend": "clicks",
            "clicks": {"several": "vote", "prompts": {"cup": {"a.png": [1, 1]}}},
        },
    }
    settings = load(raw, photos)
    options = {name: settings.resolve(name, "grounding")["options"] for name in "ab"}
    assert options["a"] == {
        "several": "vote",
        "prompts": {"cup": {"a.png": [5, 6]}, "pot": {"a": [[1, 2], [3, 4]]}},
    }
    assert options["b"] == {"several": "vote", "prompts": {"cup": {"a.png": [1, 1]}}}
    own["prompts"]["pot"] = {"b.png": [1, 2]}
    with pytest.raises(ConfigError, match=r"scenes\.a\.grounding\.clicks\.prompts: the scene has"):
        load(raw, photos)
    own["prompts"] = {".cup": {"a.png": [5, 6]}}
    with pytest.raises(ConfigError, match=r"\.prompts: '\.cup' starts with a dot"):
        load(raw, photos)


def test_generated_files_are_in_step() -> None:
    for path, content in docs.files().items():
        assert (REPOSITORY / path).read_text(encoding="utf-8") == content, (
            f"{path} is out of date: run `python -m gradiseg_core.config.docs`"
        )


def test_a_table_of_the_reference_is_not_repeated() -> None:
    page = docs.page()
    deva = page.partition("### `tracking.deva.sam`")[2].partition("\n#")[0]
    assert "The keys of `masks.sam` except `device` and `half`." in deva
    assert "|" not in deva
    assert "| `vit_h`" in page.partition("### `grounding.groundingdino.sam`")[2]  # of two keys


def test_the_reference_has_every_key_in_its_place() -> None:
    page = docs.page()
    waiting = list(RootConfig.model_fields.items())
    missing = []
    while waiting:
        path, field = waiting.pop()
        below = docs._section(field)
        if below is not None and field.default is not None:
            waiting += [(f"{path}.{key}", part) for key, part in below.model_fields.items()]
            continue
        place, _, key = path.rpartition(".")
        heading = f"# `{place}`\n" if place else "## Top level\n"
        part = page.partition(heading)[2].partition("\n#")[0]
        if below is not None:
            missing += [] if f"\n## `{path}`\n" in page else [path]
        elif f"| `{key}` |" not in part and "The keys of `masks.sam`" not in part:
            missing.append(path)
    assert not missing


def test_defaults_are_written_with_unit_choices_and_limits() -> None:
    page = docs.page()
    assert "| `until` | `12000` of 30,000 |" in page
    assert "| `longest_side` | `null` or integer px |" in page
    assert "| `device` | `auto` or `cuda`, `cpu` |" in page
    assert "| `sh_degree` | `3` (0 to 3) |" in page
    assert "| `min_registered_share` | `0.8` |" in page  # a share says so itself
    assert "| `format` | required | `ply` (3DGS)" in page  # the meaning names all choices


def test_every_field_is_described() -> None:
    missing = []
    waiting: list[Any] = [RootConfig, SceneEntry]
    while waiting:
        model = waiting.pop()
        for name, field in model.model_fields.items():
            if not field.description:
                missing.append(f"{model.__name__}.{name}")
            below = docs._section(field)
            waiting += [below] if below else []
    assert not missing


def test_the_entry_of_a_scene_repeats_the_sections() -> None:
    overrides = set(SceneEntry.model_fields) - set(SceneConfig.model_fields)
    others = {"quality", "variants", "seeds", "baseline_2d", "edits", "exports"}
    assert overrides == set(SCENE_STAGES) | others
    annotation = SceneConfig.model_fields["source"].annotation
    assert SceneEntry.model_fields["source"].annotation == annotation


def test_names_that_mean_something_else_are_taken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("train", "scene", "curves"):
        raw = {"scenes": {name: {"path": "photos"}}}
        with pytest.raises(ConfigError, match=rf"scenes\.{name}: this name is taken.*{name}_scene"):
            load(raw, tmp_path, reserved=["curves"])
    assert "curves" in load(raw, tmp_path).scenes


def test_the_shipped_clicks_lie_on_their_objects() -> None:
    settings = load(yaml.safe_load((REPOSITORY / "config.yaml").read_text()), REPOSITORY)
    options: Any = settings.section("demo", "grounding").options  # type: ignore[attr-defined]
    truth = json.loads((DEMO_FOLDER / "ground_truth.json").read_text())
    assert list(options.prompts) == truth["prompts"]
    for prompt in truth["prompts"]:
        for view, (column, row) in options.clicks_of(prompt):
            assert (DEMO_FOLDER / "images_train" / view).exists(), "a held-out view is clicked"
            exact = read_id_map(DEMO_FOLDER / "gt_ids" / f"{view[:-4]}.png")
            assert exact[row, column] == truth["gt_id_of_prompt"][prompt], prompt


def test_the_shipped_configuration_is_valid() -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    settings = load(raw, REPOSITORY)
    assert settings.root.variants == ("baseline", "gradiseg", "gradiseg_plus")
