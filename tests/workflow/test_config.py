"""What the message of a wrong configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config import inputs
from gradiseg_core.config.layers import merge
from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError

DEMO = {"scenes": {"demo": {"source": "demo"}}}


def problems(raw: Any, folder: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(raw, folder)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trian": {}}, "trian: unknown key; did you mean 'train'?"),
        (
            {"skip_unreadable": True},
            "skip_unreadable: is no key here; it belongs below: `scenes.<name>.skip_unreadable`",
        ),
        ({"label": "a"}, "label: is no key here; it belongs below: `own_variants.<name>.label`"),
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
