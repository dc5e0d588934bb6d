"""Which scenes and variants of a configuration are the paper's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradiseg_core.config.paper import PaperPlan
from gradiseg_core.config.paper_plan import paper_plan
from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError


def test_the_plan_finds_scenes_and_the_sweep_by_what_they_train(tmp_path: Path) -> None:
    for folder in ("photos", "ramen/images", "garden/images_4"):
        (tmp_path / folder).mkdir(parents=True)
    window = {"start": 3000, "until": 6000, "max_growth": 9}
    plan = paper_plan(
        load(
            {
                "scenes": {
                    "kitchen": {"path": "photos"},  # a kitchen, but not Mip-NeRF 360's
                    "ramen": {
                        "source": "lerf_mask",
                        "path": "ramen",
                        "train": {"losses": {"beta": 1.0}},
                    },
                    "soup": {"source": "copy", "of": "ramen"},
                    "garden": {"source": "mipnerf360", "path": "garden", "factor": 4},
                },
                "variants": [
                    "igd",
                    "gradiseg",
                    "gradiseg_plus",
                    "early",
                    "other",
                    "only_igd",
                    "grown",
                ],
                "own_variants": {
                    "early": {"train": {"igd": window}},
                    "grown": {"train": {"igd": {"max_growth": 1}}},
                    "other": {"train": {"igd": window, "sh_degree": 2}},
                    "only_igd": {"label": "Mine", "train": {"igd": window, "la_knn": None}},
                },
            },
            tmp_path,
        )
    )
    assert plan.scenes == ("ramen", "garden")
    assert plan.starts == {"ramen": {"gradiseg": 12000, "early": 3000}}
    assert plan.factors == {"garden": 4}
    assert plan.labels["only_igd"] == "Mine"
    assert PaperPlan(**plan.model_dump(mode="json")) == plan


def test_absent_scenes_are_an_error_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "ramen" / "images").mkdir(parents=True)
    scenes = {
        "ramen": {"source": "lerf_mask", "path": "ramen"},
        "teatime": {"source": "lerf_mask", "path": "elsewhere"},
        "tea": {"source": "copy", "of": "teatime"},
        "garden": {"source": "mipnerf360", "dataset": "garden"},
    }
    with pytest.raises(ConfigError, match=r"scenes\.teatime\.path: no such folder"):
        load({"scenes": scenes}, tmp_path)
    online = load({"scenes": scenes, "absent_scenes": "skip"}, tmp_path)
    assert list(online.scenes) == ["ramen", "garden"]
    offline = {"scenes": scenes, "absent_scenes": "skip", "downloads": {"offline": True}}
    settings = load(offline, tmp_path)
    assert list(settings.scenes) == ["ramen"]
    assert settings.absent == {
        "teatime": "no photographs at elsewhere",
        "garden": "offline, and never fetched",
        "tea": "copies teatime, which is absent",
    }
    (tmp_path / "downloads/datasets/mipnerf360/garden_images_8").mkdir(parents=True)
    assert list(load(offline, tmp_path).absent) == ["teatime", "tea"]
    nothing = {"scenes": {"teatime": scenes["teatime"]}, "absent_scenes": "skip"}
    with pytest.raises(ConfigError, match="no scene is left"):
        load(nothing, tmp_path)
