"""A strategy and a loss term are one file each: found by name, configured, run, checkpointed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import gradiseg_core.splatting.strategies
import gradiseg_core.splatting.terms
from gradiseg_core.config.parts import OWN, load, names
from gradiseg_core.config.root import load as load_settings
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.errors import ConfigError, GradisegError
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.stages.training.data import load_training_data
from tests.synthetic import write_scene

TOY_STRATEGY = """
from gradiseg_core.config.base import Conflict, option
from gradiseg_core.config.parts import PartOptions
from gradiseg_core.splatting.parts import Strategy
from gradiseg_core.splatting.strategies.surgery import prune


class Options(PartOptions):
    every: int = option(5, "How often.", ge=1)
    odd: bool = option(False, "At odd steps.")

    def conflicts(self):
        if self.odd and self.every % 2 == 0:
            yield Conflict(("odd", "every"), "an even interval meets no odd step")


class Thinning(Strategy):
    def __init__(self, every):
        self.every, self.removed = every, 0

    def step_post_optimizer(self, step, gaussians):
        if step % self.every:
            return False
        mask = gaussians.opacities < 0
        mask[0] = True
        self.removed += prune(gaussians, mask)
        return True

    def state_dict(self):
        return {"removed": self.removed}

    def load_state_dict(self, state):
        self.removed = state["removed"]


def make(options, run):
    return Thinning(options.every)
"""

TOY_TERM = """
from gradiseg_core.config.base import option
from gradiseg_core.config.parts import PartOptions
from gradiseg_core.splatting.parts import LossTerm


class Options(PartOptions):
    weight: float = option(0.5, "Weight of the mean opacity.", ge=0)


class Opacity(LossTerm):
    def value(self, now):
        return None if now.step % 2 else now.gaussians.opacities.mean()


def make(options, run):
    return Opacity("opacity", options.weight)
"""

#: Long enough that nothing else changes the Gaussians in its first iterations.
CONFIG = TrainConfig(iterations=30_000, num_classes="auto", device="cpu")


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    packages = {
        "thinning": gradiseg_core.splatting.strategies,
        "opacity": gradiseg_core.splatting.terms,
    }
    for (name, package), text in zip(packages.items(), (TOY_STRATEGY, TOY_TERM), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / name)])
    yield
    for name, package in packages.items():
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_scene(tmp_path_factory.mktemp("balls"))


@pytest.mark.usefixtures("toys")
def test_one_file_is_a_strategy_or_a_term(scene: tuple[Path, Path, Path]) -> None:
    values = CONFIG.model_dump(mode="json") | {
        "strategies": {"thinning": {"every": 4}}, "terms": {"opacity": {}},
    }  # fmt: skip
    config = TrainConfig.model_validate(values)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    assert {"thinning.py", "opacity.py"} <= {file.name for file in config.files}
    data = load_training_data(*scene, config)
    trainer, plain = Trainer(data, config, 0), Trainer(data, CONFIG, 0)
    assert list(trainer.strategies) == ["densification", "igd", "thinning"]
    first, without = trainer.iterate(), plain.iterate()
    assert first["opacity_loss"] is None
    assert first["loss"] == without["loss"]
    opacity = trainer.gaussians.opacities.mean().item()
    second, without = trainer.iterate(), plain.iterate()
    assert float(second["opacity_loss"]) == pytest.approx(opacity)  # type: ignore[arg-type]
    losses = [float(log["loss"]) for log in (second, without)]  # type: ignore[arg-type]
    assert losses[0] == pytest.approx(losses[1] + 0.5 * opacity)
    count = len(trainer.gaussians)
    for _ in range(6):
        trainer.iterate()
    assert len(trainer.gaussians) == count - 2
    resumed = Trainer(data, config, 0)
    resumed.load_state_dict(trainer.state_dict())
    assert resumed.strategies["thinning"].removed == 2  # type: ignore[attr-defined]
    for one in (trainer, resumed):
        one.iterate()
        one.prefetcher.close()
    plain.prefetcher.close()
    assert torch.equal(trainer.gaussians.params["means"], resumed.gaussians.params["means"])


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"thining": {}}, r"train\.strategies: there is no 'thining'; did you mean 'thinning'"),
        (
            {"thinning": {"evry": 5}},
            r"train\.strategies\.thinning\.evry: unknown key; did you mean 'every'",
        ),
        ({"thinning": {"every": 0}}, r"thinning\.every: .*greater than or equal to 1"),
        ({"igd": {}}, r"'igd' is configured by the keys of section `train`"),
        ({"thinning": {"odd": True, "every": 4}}, r"thinning\.odd and .*\.every: an even interval"),
    ],
)
def test_a_wrong_part_stops_before_any_job(tmp_path: Path, part: dict, message: str) -> None:
    (tmp_path / "photos").mkdir()
    raw = {"scenes": {"a": {"path": "photos"}}, "train": {"strategies": part}}
    with pytest.raises(ConfigError, match=message):
        load_settings(raw, tmp_path)


@pytest.mark.parametrize(("kind", "name"), [("strategies", "opacity_floor"), ("terms", "flatness")])
def test_the_files_of_the_page_run(
    kind: str, name: str, scene: tuple[Path, Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    page = Path("docs/architecture.md").read_text(encoding="utf-8")
    text = page.partition(f"/splatting/{kind}/{name}.py`:")[2].partition("```python\n")[2]
    (tmp_path / f"{name}.py").write_text(text.partition("```\n")[0])
    package = getattr(gradiseg_core.splatting, kind)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    values = CONFIG.model_dump(mode="json") | {kind: {name: {}}, "iterations": 400}
    if kind == "strategies":
        values |= {"strategies": {name: {"opacity": 0.2}}}  # all start at 0.1
    config = TrainConfig.model_validate(values)
    trainer = Trainer(load_training_data(*scene, config), config, 0)
    monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}")
    monkeypatch.delattr(package, name)
    if kind == "terms":
        scales = trainer.gaussians.scales.amin(dim=1).mean().item()
        assert float(trainer.iterate()["flatness_loss"]) == pytest.approx(scales)  # type: ignore[arg-type]
    else:
        with pytest.raises(GradisegError, match="no Gaussian is left at iteration"):
            all(trainer.iterate() for _ in range(30))
    trainer.prefetcher.close()


@pytest.mark.usefixtures("toys")
def test_null_leaves_a_part_out_in_every_layer(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    raw = {
        "scenes": {
            "on": {"path": "photos"},
            "off": {"path": "photos", "train": {"strategies": {"thinning": None}}},
            "again": {"path": "photos", "train": {"terms": {"opacity": {}}}},
        },
        "train": {"strategies": {"thinning": {"every": 7}}, "terms": {"opacity": None}},
        "variants": ["gradiseg", "plain"],
        "own_variants": {"plain": {"train": {"strategies": {"thinning": None}}}},
    }
    settings = load_settings(raw, tmp_path)

    def parts(scene: str, variant: str) -> list[str]:
        train = settings.section(scene, "train", variant)
        assert isinstance(train, TrainConfig)
        return [*train.strategies, *train.terms]

    assert parts("on", "gradiseg") == ["thinning"]
    assert parts("on", "plain") == []
    assert parts("off", "gradiseg") == []
    assert parts("again", "gradiseg") == ["thinning", "opacity"]
    train = settings.section("on", "train", "gradiseg")
    assert train.model_dump()["strategies"] == {"thinning": {"every": 7, "odd": False}}
    with pytest.raises(ConfigError, match="there is no 'opacty'"):
        load_settings({**raw, "train": {"terms": {"opacty": None}}}, tmp_path)


@pytest.mark.usefixtures("toys")
def test_a_part_whose_options_name_no_file_does_not_run() -> None:
    options = load("strategies", "thinning").Options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "file", lambda self, key: None if self.odd else key)
        for odd, runs in ((True, False), (False, True)):
            given = {"thinning": {"every": 5, "odd": odd}}
            config = TrainConfig.model_validate({"strategies": given})
            assert ("thinning" in [part.name for part in config.parts("strategies")]) == runs
            assert ("thinning.py" in [file.name for file in config.files]) == runs


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def make(", "def made(", r"thinning\.py lacks `make`, a function"),
        ("class Options(PartOptions)", "class Option(PartOptions)", "lacks `Options`, a class"),
        ("class Options(PartOptions)", "class Options", "lacks `Options`, a class"),
        ("odd: bool", "file: bool", "PartOptions has something called `file`"),
        (
            "import prune",
            "import prunes",
            r"strategy `thinning` \(\S+thinning\.py:5\) cannot be imported: ImportError",
        ),
        ("def make(", "def make", r"thinning\.py:\d+\) cannot be imported: SyntaxError"),
    ],
)
def test_a_wrong_file_stops_before_any_job(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "thinning" / "thinning.py").write_text(TOY_STRATEGY.replace(old, new))
    raw = {"scenes": {"a": {"path": "photos"}}, "train": {"strategies": {"thinning": {}}}}
    with pytest.raises(ConfigError, match=message):
        load_settings(raw, tmp_path)


def test_a_helper_is_no_part() -> None:
    assert "surgery" not in names("strategies")
    with pytest.raises(ValidationError, match="there is no 'surgery'"):
        TrainConfig.model_validate({"strategies": {"surgery": {}}})


@pytest.mark.usefixtures("toys")
def test_a_strategy_that_says_nothing_of_its_change(
    scene: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Otherwise the spatial term would ask a search tree of Gaussians that are gone."""
    file = tmp_path / "thinning" / "thinning.py"
    silent = TOY_STRATEGY.replace("        return True\n", "        return False\n")
    file.write_text(silent.replace("mask[0] = True", "mask[::2] = True"))
    values = CONFIG.model_dump(mode="json") | {"strategies": {"thinning": {"every": 2}}}
    config = TrainConfig.model_validate(values)
    trainer = Trainer(load_training_data(*scene, config), config, 0)
    count = len(trainer.gaussians)
    changes = []
    for term in trainer.terms.values():
        term.gaussians_changed = lambda: changes.append(trainer.step)  # type: ignore[method-assign]
    trainer.iterate()
    assert changes == []
    trainer.iterate()
    trainer.prefetcher.close()
    assert len(trainer.gaussians) < count
    assert changes == [2] * len(trainer.terms)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("name", ["spatial", "identity"])
def test_two_terms_of_one_name_in_the_log(
    scene: tuple[Path, Path, Path], tmp_path: Path, name: str
) -> None:
    file = tmp_path / "opacity" / "opacity.py"
    file.write_text(TOY_TERM.replace('Opacity("opacity"', f'Opacity("{name}"'))
    config = TrainConfig.model_validate(CONFIG.model_dump(mode="json") | {"terms": {"opacity": {}}})
    trainer = Trainer(load_training_data(*scene, config), config, 0)
    with pytest.raises(ConfigError, match=f"loss term `opacity` logs {name}_loss, as another"):
        trainer.iterate()
    trainer.prefetcher.close()


@pytest.mark.usefixtures("toys")
def test_make_that_returns_no_part_is_named(
    scene: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load("terms", "opacity"), "make", lambda options, run: None)
    config = TrainConfig.model_validate(CONFIG.model_dump(mode="json") | {"terms": {"opacity": {}}})
    with pytest.raises(ConfigError, match=r"opacity\.py: `make` returned NoneType, no LossTerm"):
        Trainer(load_training_data(*scene, config), config, 0)


def test_files_are_those_of_the_parts_that_run() -> None:
    def strategies(config: TrainConfig) -> list[str]:
        return [file.stem for file in config.files if file.parent.name == "strategies"]

    assert strategies(with_variant(CONFIG, "baseline")) == ["densification"]
    assert strategies(with_variant(CONFIG, "gradiseg")) == ["densification", "igd"]
    assert strategies(with_variant(CONFIG, "gradiseg_plus")) == ["densification", "igd", "near"]
    mcmc = TrainConfig.model_validate({"densification": {"kind": "mcmc"}, "igd": None})
    assert strategies(mcmc) == ["mcmc"]


@pytest.mark.parametrize("kind", ["strategies", "terms"])
def test_every_part_that_ships_can_be_made(kind: str) -> None:
    found = set(names(kind))
    further = {"terms": {"surface_depth"}, "strategies": set()}[kind]
    assert found == {*OWN[kind], *further}
    assert not any(hasattr(load(kind, name), "Options") for name in OWN[kind])
    assert found >= ({"igd", "mcmc"} if kind == "strategies" else {"spatial"})
    assert all(hasattr(load(kind, name), "make") for name in found)


def test_only_surgery_changes_gaussians() -> None:
    """What rebuilds, overwrites or writes into parameters stands in one module."""
    change = re.compile(r"\.(rebuild|overwrite\w*)\(|params\[[^]]*\]\.data(\[.*\] = |\.\w+_\()")
    folder = Path(gradiseg_core.splatting.strategies.__file__).parent
    changing = {file.stem for file in folder.glob("*.py") if change.search(file.read_text())}
    assert changing == {"surgery"}
