"""The plan of the paper's tables, made from a configuration.

A scene takes part by its name and source: LERF-Mask's for Tables 1, 2 and 4 and Figure 6,
Mip-NeRF 360's for Table 3. The variants of Figure 6 are those whose training differs from
`gradiseg` only in the window of IGD.
"""

from __future__ import annotations

from gradiseg_core.config.datasets import scenes_of
from gradiseg_core.config.paper import PaperPlan
from gradiseg_core.config.root import Settings
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import with_variant

#: The datasets of the paper, by `source`.
SOURCES = ("lerf_mask", "mipnerf360")


def paper_plan(settings: Settings) -> PaperPlan:
    """Return the plan of the paper's experiments in a configuration."""
    sources = {name: settings.origin(name).source for name in settings.scenes}
    scenes = [name for name in sources if name.lower() in _paper_scenes(sources[name])]
    return PaperPlan(
        scenes=tuple(scenes),
        absent=dict(settings.absent),
        starts={name: _starts(settings, name) for name in scenes if sources[name] == "lerf_mask"},
        factors={
            name: settings.origin(name).factor for name in scenes if sources[name] == "mipnerf360"
        },
        labels=settings.labels(),
    )


def _paper_scenes(source: str) -> list[str]:
    return scenes_of(source) if source in SOURCES else []


def _starts(settings: Settings, scene: str) -> dict[str, int]:
    section = settings.section(scene, "train")
    assert isinstance(section, TrainConfig)
    reference = with_variant(section, "gradiseg")
    assert reference.igd is not None
    found = {}
    for variant in settings.variants_of(scene):
        train = settings.trainings[scene][variant]
        if train.igd is None:
            continue
        moved = variant == "gradiseg" or train.igd.start != reference.igd.start
        if moved and _apart_from_the_window(train) == _apart_from_the_window(reference):
            found[variant] = train.igd.start
    return found


def _apart_from_the_window(train: TrainConfig) -> TrainConfig:
    """Return the parameters without IGD's window.

    The cap on growth belongs to the window: it also counts Gaussians of the ordinary densification,
    which is still running if IGD starts early.
    """
    assert train.igd is not None
    igd = train.igd.model_copy(update={"start": 0, "until": 0, "max_growth": 0.0})
    return train.model_copy(update={"igd": igd})
