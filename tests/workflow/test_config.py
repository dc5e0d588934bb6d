"""What a wrong configuration is told, and what a right one resolves to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradiseg_core.config import docs, inputs
from gradiseg_core.config.layers import merge
from gradiseg_core.config.root import SCENE_STAGES, RootConfig, SceneEntry, Settings, load
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import PRESETS
from gradiseg_core.errors import ConfigError
from gradiseg_core.files.id_maps import read_id_map
from tests.workflow.conftest import REPOSITORY

DEMO = {"scenes": {"demo": {"source": "demo"}}}


def problems(raw: Any, folder: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(raw, folder)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with `photos/`, `lerf/` (LERF-Mask's layout) and `ids/`."""
    for folder in ("photos", "lerf/images", "lerf/images_train", "lerf/object_mask", "ids"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trian": {}}, "trian: unknown key; did you mean 'train'?"),
        (
            {"train": {"losses": {"lambda_ssim": 0.1}}},
            "train.losses.lambda_ssim: unknown key; did you mean 'lambda_dssim'?",
        ),
        (
            {"scenes": {"a": {"source": "demo", "train": {"iteration": 5}}}},
            "scenes.a.train.iteration: unknown key; did you mean 'iterations'?",
        ),
        (
            {"scenes": {"a": {"source": "demo", "demo": {"seed": 5}}}},
            "scenes.a.demo: is no longer a key: the embedded scene lies in resources/demo",
        ),
        (
            {"variants": ["gradisg"]},
            "variants[0]: expected one of baseline, igd, la_knn, gradiseg, gradiseg_plus, "
            "got 'gradisg'; "
            "did you mean 'gradiseg'?",
        ),
        (
            {"own_variants": {"mine": {"train": {"igd": {"strat": 5}}}}},
            "own_variants.mine.train.igd.strat: unknown key; did you mean 'start'?",
        ),
        (
            {"own_variants": {"mine": {"base": "igd"}}},
            "own_variants.mine.base: is no longer a key: a variant lists its changes to the whole "
            "method. Instead of `base: baseline` write `train: {igd: null, la_knn: null, ",
        ),
        (
            {"train": {"densification": {"until_baseline": 12_000}}},
            "train.densification.until_baseline: is no longer a key: densification ends at "
            "`densification.until` in every variant",
        ),
        (
            {"own_variants": {"m": {"train": {"densification": {"until_baseline": 12_000}}}}},
            "own_variants.m.train.densification.until_baseline: is no longer a key",
        ),
        (
            {"train": {"igd": None}},
            "train.igd: null leaves out what variant 'igd' trains with; take 'igd' out of",
        ),
        (
            {"scenes": {"a": {"source": "demo", "train": {"la_knn": None}}}},
            "scenes.a.train.la_knn: null leaves out what variant 'gradiseg' trains with",
        ),
        ({"own_variants": {"igd": {"label": "Mine"}}}, "own_variants.igd: there is a variant of"),
        (
            {"own_variants": {"a/b": {"label": "Mine"}}, "variants": ["a/b"]},
            "own_variants.a/b: a variant's name may hold letters",
        ),
        (
            {
                "train": {"longest_side": 320},
                "own_variants": {"mine": {"train": {"downsample": 2}}},
                "variants": ["mine"],
            },
            "train.longest_side and own_variants.mine.train.downsample: give longest_side or ",
        ),
        (
            {"scenes": {"a": {"source": "demo", "variants": ["igd", "best"]}}},
            "scenes.a.variants[1]: expected one of",
        ),
        ({"scenes": {"a": {"source": "demo", "seeds": [3, 3]}}}, "scenes.a.seeds: listed more"),
        (
            {"second_grounding": {"manual": {"overlap": "best_view"}}},
            "scenes.demo.second_grounding.backend: 'colour_words' is the backend of `grounding`",
        ),
        (
            {"grounding": {"backend": "clicks", "clicks": {"prompts": {"white teapt": {}}}}},
            "grounding.clicks.prompts: the scene has no prompt 'white teapt'; did you mean 'white ",
        ),
        (
            {
                "scenes": {
                    "a": {
                        "source": "demo",
                        "grounding": {
                            "backend": "clicks",
                            "clicks": {"prompts": {"red apple": {"frame_31.jpg": [3, 4]}}},
                        },
                    }
                }
            },
            "scenes.a.grounding.clicks.prompts: the scene has no photograph 'frame_31.jpg'; did ",
        ),
        (
            {"grounding": {"clicks": {"prompts": {"red apple": {"frame_00031.jpg": [3]}}}}},
            "grounding.clicks.prompts.red apple.frame_00031.jpg: give the pixel as [column, row]",
        ),
        (
            {"grounding": {"clicks": {"prompts": {"red apple": [3, 4]}}}},
            "grounding.clicks.prompts.red apple: expected a mapping",
        ),
        (
            {"grounding": {"clicks": {"several": "majority"}}},
            "grounding.clicks.several: expected one of union, vote, got 'majority'",
        ),
        (
            {"train": {"iterations": "many"}},
            "train.iterations: expected a whole number, got 'many'",
        ),
        ({"train": {"iterations": True}}, "train.iterations: expected int, got True"),
        ({"train": 5}, "train: expected a mapping (key: value), got 5"),
        ({"seeds": 0}, "seeds: expected a list, got 0"),
        ({"seeds": [1, 1]}, "seeds: listed more than once: 1"),
        ({"scenes": {}}, "scenes: "),
        ({"scenes": {"a": {}}}, "scenes.a: source 'folder' needs path"),
        (
            {"scenes": {"a": {"path": "phtos"}}},
            "scenes.a.path: no such folder: phtos; did you mean",
        ),
        ({"scenes": {"a b": {"source": "demo"}}}, "scenes.a b: a scene's name may hold letters"),
        ({"scenes": {7: {"source": "demo"}}}, "scenes.7: a scene's name may hold letters"),
        ({"scenes": {"train": {"source": "demo"}}}, "scenes.train: this name is taken"),
        (
            {"train": {"longest_side": 320, "downsample": 2}},
            "train.longest_side and train.downsample: give longest_side or downsample, not both",
        ),
        (
            {
                "train": {"longest_side": 320},
                "scenes": {"a": {"source": "demo", "train": {"downsample": 2}}},
            },
            "train.longest_side and scenes.a.train.downsample: give longest_side or downsample, ",
        ),
        (
            {"masks": {"backend": "precomputed"}},
            "scenes.demo.masks.precomputed.folder: `backend: precomputed` needs the folder",
        ),
        (
            {"tracking": {"backend": "precomputed"}},
            "scenes.demo.tracking.precomputed.folder: `backend: precomputed` needs the folder",
        ),
        (
            {"tracking": {"backend": "precomputed", "precomputed": {"folder": "nowhere"}}},
            "tracking.precomputed.folder: no such folder: nowhere",
        ),
        (
            {"scenes": {"a": {"source": "lerf_mask", "path": "photos"}}},
            "scenes.a.path: no folder images/ in photos",
        ),
        (
            {"scenes": {"a": {"source": "copy"}}},
            "scenes.a: `of` names the scene that `source: copy` takes; `of` is missing",
        ),
        (
            {"scenes": {"a": {"source": "demo", "of": "a"}}},
            "scenes.a: `of` names the scene that `source: copy` takes; source is 'demo'",
        ),
        (
            {"scenes": {"tea": {"source": "demo"}, "a": {"source": "copy", "of": "tee"}}},
            "scenes.a.of: no scene is called 'tee'; did you mean 'tea'?",
        ),
        (
            {
                "scenes": {
                    "tea": {"source": "demo"},
                    "a": {"source": "copy", "of": "tea"},
                    "b": {"source": "copy", "of": "a"},
                }
            },
            "scenes.b.of: 'a' is a copy itself",
        ),
    ],
)
def test_a_wrong_key_is_named_in_full(photos: Path, change: dict, message: str) -> None:
    found = problems({**DEMO, **change}, photos)
    assert any(line.startswith(message) for line in found), found


def in_layers(stage: str, low: dict, high: dict, order: str) -> dict:
    """A configuration with one part of a section in each of two places."""
    places: dict[str, dict] = {"section": {}, "scene": {}, "variant": {}}
    lower, upper = order.split(" < ")
    places[lower], places[upper] = low, high
    raw: dict = {
        stage: places["section"],
        "scenes": {"a": {"source": "demo", stage: places["scene"]}},
    }
    if "variant" in order:
        own = {"mine": {"train": places["variant"]}}
        raw |= {"variants": ["mine"], "own_variants": own}
    if stage == "tracking_2d":
        raw["baseline_2d"] = True
        raw["tracking"] = {"backend": "deva"}
    if stage == "second_grounding":
        raw["grounding"] = {"backend": "manual"}
    return raw


def orders(stage: str) -> tuple[str, ...]:
    """The pairs of places that a section can be written in; variants change `train` alone."""
    of_variants = ("section < variant", "scene < variant") if stage == "train" else ()
    return ("section < scene", *of_variants)


IN_PARTS = [
    ("train", {"igd": {"start": 6000}}, {"igd": {"until": 9000}}),
    ("train", {"igd": {"start": 16_000}}, {"igd": {"until": 19_000}}),
    ("train", {"gsplat": {"channels": "padded"}}, {"densification": {"absgrad": True}}),
    ("train", {"longest_side": 320}, {"longest_side": None, "downsample": 2}),
    ("masks", {"backend": "precomputed"}, {"precomputed": {"folder": "ids"}}),
    ("masks", {"sam": {"points_per_side": 8}}, {"backend": "sam"}),
    ("tracking", {"backend": "deva"}, {"repair": "sfm"}),
    (
        "tracking",
        {"backend": "deva", "deva": {"detection_every": 12}},
        {"deva": {"voting_frames": 9}},
    ),
    (
        "tracking_2d",
        {"deva": {"detection_every": 12}},
        {"backend": "deva", "deva": {"voting_frames": 9}},
    ),
    ("tracking_2d", {"backend": "deva"}, {"repair": "sfm"}),
    (
        "grounding",
        {"groundingdino": {"longer_side": 400}, "backend": "groundingdino"},
        {"groundingdino": {"shorter_side": 300}},
    ),
    (
        "second_grounding",
        {"groundingdino": {"longer_side": 400}, "backend": "groundingdino"},
        {"groundingdino": {"shorter_side": 300}},
    ),
]


@pytest.mark.parametrize(
    ("stage", "low", "high", "order"),
    [
        (stage, low, high, order)
        for stage, one, other in IN_PARTS
        for low, high in ((one, other), (other, one))
        for order in orders(stage)
        if "longest_side" not in low or low["longest_side"]  # null takes away what lies below it
    ],
)
def test_a_part_makes_sense_with_the_others_only(
    photos: Path, stage: str, low: dict, high: dict, order: str
) -> None:
    settings = load(in_layers(stage, low, high, order), photos)
    found: Any = settings.resolve("a", stage, "mine" if "variant" in order else None)
    if stage == "train" and "variant" not in order:
        found = settings.resolve("a", "train", "gradiseg")
    if "options" in found:
        found |= {found["backend"]: found["options"]}

    def same(part: dict, whole: dict) -> bool:
        return all(
            same(value, whole[key]) if isinstance(value, dict) else whole[key] == value
            for key, value in part.items()
        )

    assert same(merge(low, high), found)


CONFLICTS = [
    ("train", {"igd": {"start": 9000}}, {"igd": {"until": 6000}}, ("igd.start", "igd.until")),
    (
        "train",
        {"gsplat": {"channels": "split"}},
        {"densification": {"absgrad": True}},
        ("gsplat.channels", "densification.absgrad"),
    ),
    ("tracking", {"repair": "sfm"}, {"backend": "sfm"}, ("repair", "backend")),
    (
        "tracking_2d",
        {"deva": {"detection_every": 8}},
        {"deva": {"voting_frames": 9}},
        ("deva.detection_every", "deva.voting_frames"),
    ),
    (
        "second_grounding",
        {"groundingdino": {"longer_side": 400}, "backend": "groundingdino"},
        {"groundingdino": {"shorter_side": 600}},
        ("groundingdino.longer_side", "groundingdino.shorter_side"),
    ),
]


@pytest.mark.parametrize(
    ("stage", "low", "high", "keys", "order"),
    [(stage, *rest, order) for stage, *rest in CONFLICTS for order in orders(stage)],
)
def test_parts_that_conflict_are_named_where_they_were_written(
    photos: Path, stage: str, low: dict, high: dict, keys: tuple[str, str], order: str
) -> None:
    where = {
        "section": stage,
        "scene": f"scenes.a.{stage}",
        "variant": "own_variants.mine.train",
    }
    lower, upper = order.split(" < ")
    lines = problems(in_layers(stage, low, high, order), photos)
    assert len(lines) == 1
    named = lines[0].split(": ")[0].split(" and ")
    assert sorted(named) == sorted([f"{where[lower]}.{keys[0]}", f"{where[upper]}.{keys[1]}"])


def test_a_conflict_with_a_default_names_what_was_written() -> None:
    start = {"igd": {"start": 16_000}}
    message = "igd.until (15000) lies before igd.start (16000); igd.until is 15000 by default"
    assert problems({**DEMO, "train": start}) == [f"train.igd.start: {message}"]
    scene = {"scenes": {"a": {"source": "demo", "train": start}, "b": {"source": "demo"}}}
    assert problems(scene) == [f"scenes.a.train.igd.start: {message}"]


def test_what_a_scene_does_not_run_is_not_asked_for_sense() -> None:
    """Scenes share a section that fits those of them that use it."""
    raw = {
        "tracking_2d": {"repair": "sfm"},
        "scenes": {
            "a": {"source": "demo"},
            "b": {"source": "demo", "baseline_2d": True, "tracking": {"backend": "deva"}},
        },
    }
    assert load(raw).resolve("b", "tracking_2d")["repair"] == "sfm"
    assert problems({**raw, "baseline_2d": True}) == [
        "tracking_2d.repair: `repair: sfm` repairs the IDs of `precomputed` or `deva`; "
        "`backend: geometry` has no others: remove `repair`; backend is geometry by default"
    ]


@pytest.mark.parametrize(
    ("root", "scene", "backend"),
    [
        ({}, {}, "geometry"),
        ({"masks": {"backend": "graph"}}, {}, "sfm"),
        ({"masks": {"graph": {"min_area": 50}}}, {}, "sfm"),
        ({"masks": {}}, {}, "geometry"),
        ({}, {"masks": {"backend": "graph"}}, "sfm"),
        ({}, {"tracking": {"sfm": {"min_views": 3}}}, "sfm"),
        ({"tracking": {"overflow": "error"}}, {}, "geometry"),
        ({"masks": {"backend": "graph"}}, {"tracking": {"backend": "geometry"}}, "geometry"),
        ({"masks": {"backend": "graph"}, "tracking": {"backend": "geometry"}}, {}, "geometry"),
        ({"tracking": {"backend": "sfm"}}, {}, "sfm"),
    ],
)
def test_who_writes_of_masks_gets_them_joined(root: dict, scene: dict, backend: str) -> None:
    settings = load({**root, "scenes": {"a": {"source": "demo"} | scene, "b": {"source": "demo"}}})
    assert settings.resolve("a", "tracking")["backend"] == backend
    assert settings.uses("a", "geometry") == (backend == "geometry")
    assert (
        settings.resolve("b", "tracking")["backend"]
        == load({**root, "scenes": {"b": {"source": "demo"}}}).resolve("b", "tracking")["backend"]
    )


def test_a_default_that_masks_bring_is_named_so() -> None:
    raw = {**DEMO, "masks": {"backend": "graph"}, "tracking": {"repair": "sfm"}}
    assert problems(raw) == [
        "tracking.repair: `repair: sfm` repairs the IDs of `precomputed` or `deva`; "
        "`backend: sfm` has no others: remove `repair`; "
        "backend is sfm in the defaults where `masks` is written"
    ]


def test_a_missing_folder_is_named_where_it_was_written(photos: Path) -> None:
    given = {"backend": "precomputed", "precomputed": {"folder": "nowhere"}}
    for raw, key in [
        ({**DEMO, "tracking": given}, "tracking.precomputed.folder"),
        (
            {"scenes": {"a": {"source": "demo", "tracking": given}}},
            "scenes.a.tracking.precomputed.folder",
        ),
        (
            {"tracking": given, "scenes": {"a": {"source": "demo"}, "b": {"source": "demo"}}},
            "tracking.precomputed.folder",
        ),
    ]:
        assert problems(raw, photos) == [f"{key}: no such folder: nowhere"]


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (
            {"source": "mipnerf360", "dataset": "gardn"},
            "scenes.a: 'gardn' is no scene of mipnerf360; did you mean 'garden'?",
        ),
        (
            {"source": "lerf_mask", "dataset": "bear"},
            "scenes.a: 'bear' is no scene of lerf_mask; valid: figurines, ramen, teatime",
        ),
        (
            {"source": "mipnerf360", "path": "mip"},
            "scenes.a.path: no folder images_8/ in mip, which `factor: 8` asks for; there are "
            "images for factor: 1, 4",
        ),
    ],
)
def test_a_published_scene_that_does_not_fit(photos: Path, scene: dict, message: str) -> None:
    for name in ("images", "images_4"):
        (photos / "mip" / name).mkdir(parents=True)
    assert problems({"scenes": {"a": scene}}, photos) == [message]


def test_a_downloaded_scene_brings_its_masks() -> None:
    lerf = {"a": {"source": "lerf_mask", "dataset": "ramen"}}
    load({"scenes": lerf, "tracking": {"backend": "precomputed"}})
    mip = {"a": {"source": "mipnerf360", "dataset": "room"}}
    found = problems({"scenes": mip, "tracking": {"backend": "precomputed"}})
    assert "needs the folder of the ID images" in found[0]


def test_only_the_images_that_are_used_are_inputs(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    for name in ("images/a.jpg", "images_4/a.jpg", "sparse/0/cameras.bin", "poses_bounds.npy"):
        path = photos / "mip" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    scene = load({"scenes": {"a": {"source": "mipnerf360", "path": "mip", "factor": 4}}}).section(
        "a", "scene"
    )
    names = [path.as_posix() for path in inputs.given_files(scene)]
    assert names == ["mip/images_4/a.jpg", "mip/sparse/0/cameras.bin"]


def test_all_problems_are_listed_at_once() -> None:
    assert len(problems({**DEMO, "trian": {}, "seeds": ["x"], "render": {"a": 1}})) == 3


def test_masks_without_the_split_that_they_refer_to(photos: Path) -> None:
    (photos / "lerf" / "test_mask").mkdir()
    (photos / "lerf" / "images_train" / "a.png").unlink()
    (photos / "lerf" / "images_train").rmdir()
    found = problems({"scenes": {"a": {"source": "lerf_mask", "path": "lerf"}}}, photos)
    assert "has test_mask/ but no images_train/" in found[0]


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


def test_every_field_is_described() -> None:
    missing, waiting = [], [RootConfig, SceneEntry]
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
    assert overrides == set(SCENE_STAGES) | {"variants", "seeds", "baseline_2d", "exports"}
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
