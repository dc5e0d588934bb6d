"""What the jobs of a scene take, by formulas measured on two cores (AMD EPYC, AVX-512).

Formulas give seconds of one core, which :func:`wall` turns into time. They are right within a
factor for another machine: :mod:`.rates` keeps that factor. Views are the photographs of a scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core.cameras import training_size
from gradiseg_core.compute.devices import uses_gpu
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.geometry import GeometryConfig
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.root import Settings
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.planning.budgets import photographs_of

#: Photographs of a scene of which nothing is known, as of a download.
_USUAL_VIEWS = 60
_USUAL_SIZE = (1920, 1080)

#: How much faster several threads are than one.
_SPEEDUP = {1: 1.0, 2: 1.75, 3: 2.4, 4: 3.0, 8: 5.0}
#: Threads of a stage (rules/); one where it is not named. Training: rules/common.smk.
_THREADS = {"colmap": 8, "geometry": 4, "tracking": 2, "view": 2, "masks": 2}
_MOST_OF_TRAINING = 4
#: Starting Python and a stage, seconds.
START_S = 2.0

#: A whole training, compared with as many iterations of a made scene at the most Gaussians and with
#: all losses on: 0.61 to 0.69 on the demo, 0.58 on photographs of a shelf, 0.56 on a made table.
_WHOLE_RUN = 0.62
#: Features of an image of a megapixel, and how many directions one has.
_FEATURES_A_MEGAPIXEL, _DIRECTIONS = 12_000, 1.57


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        stage: Its rule.
        scene: Its scene; None for tables.
        variant: Of a training.
        seed: Likewise.
    """

    stage: str
    scene: str | None = None
    variant: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Scene:
    """What the cost of a scene's jobs depends on.

    Attributes:
        views: Photographs.
        size: Width and height of the largest, px.
        bytes: Of their files.
        cameras: Whether cameras come with them.
    """

    views: int
    size: tuple[int, int]
    bytes: int = 0
    cameras: bool = False

    @property
    def megapixels(self) -> float:
        """Of a photograph."""
        return self.size[0] * self.size[1] / 1e6

    @property
    def held_out(self) -> float:
        """Views that are not trained on."""
        return self.views / 8

    def resized(self, longest_side: int | None, downsample: float | None) -> tuple[int, int]:
        """Return the size of a photograph that is reduced."""
        return training_size(*self.size, longest_side, downsample)

    def reduced(self, longest_side: int | None, downsample: float | None = None) -> float:
        """Return its megapixels."""
        width, height = self.resized(longest_side, downsample)
        return width * height / 1e6


def scene_of(settings: Settings, name: str) -> Scene:
    """Return what the costs of a scene depend on; by its photographs, or as scenes usually are."""
    origin = settings.origin(name)
    found = photographs_of(origin)
    views = _USUAL_VIEWS if found.count is None else found.count
    given = None if origin.path is None else find_given(origin.path)
    cameras = given is not None and bool(given.sparse or given.transforms)
    return Scene(views, found.size or _USUAL_SIZE, found.bytes, cameras)


def iteration(size: tuple[int, int], count: float, *, gpu: bool) -> float:
    """Return the seconds of one core, or of a GPU, that an iteration of `gradiseg_plus` takes.

    Args:
        size: Width and height of the images, px.
        count: Number of Gaussians.
        gpu: Whether a GPU trains; that formula was not measured.
    """
    megapixels = size[0] * size[1] / 1e6
    if gpu:
        return (5 + 10 * megapixels + 6 * count / 1e6) / 1000
    return (10 + 500 * megapixels + 1.1 * count / 1000) / 1000


def gaussians(config: TrainConfig, scene: Scene) -> float:
    """Return how many Gaussians a training ends with: as many as it may, or as scenes have."""
    grown = 400_000 * scene.reduced(config.longest_side, config.downsample) ** 0.5
    most = config.densification.max_gaussians
    return min(grown * max(0.1, min(1.0, config.iterations / 7000)), most or grown)


def core_seconds(settings: Settings, job: Job, scene: Scene) -> float:
    """Return the seconds of one core that a job takes, after its start.

    Args:
        settings: The configuration.
        job: The job.
        scene: Its scene; of tables, any.
    """
    if job.scene is None:
        return 1.0
    if job.stage == "train" and job.variant is not None:
        config = settings.section(job.scene, "train", job.variant)
        assert isinstance(config, TrainConfig)
        size = scene.resized(config.longest_side, config.downsample)
        each = iteration(size, gaussians(config, scene), gpu=uses_gpu(config.device))
        return config.iterations * each * _WHOLE_RUN + 4
    formula = _FORMULAS.get(job.stage)
    return 2.0 if formula is None else formula(settings, job.scene, scene)


def _sfm(settings: Settings, name: str, scene: Scene) -> float:
    config = settings.section(name, "colmap")
    assert isinstance(config, ColmapConfig)
    undistorting = 0.15 * scene.views * scene.megapixels
    if scene.cameras and config.existing != "ignore":
        return 2 + undistorting
    megapixels = scene.reduced(config.max_image_size)
    features = _features(config, scene)
    each = features / 13_000
    pairs = scene.views * (scene.views - 1) / 2
    if config.matcher == "sequential" or (config.matcher == "auto" and scene.views > 200):
        pairs = min(pairs, 20 * scene.views)
    # Where a photograph gets no camera, as in most captures, pairs are matched again, guided.
    matching = pairs * 0.16 * each**2 * (1.5 if config.guided_matching else 2)
    mapping = scene.views * 0.4 * each
    return 1 + scene.views * (0.15 + 0.8 * megapixels) + matching + mapping + undistorting


def _features(config: ColmapConfig, scene: Scene) -> float:
    there = _FEATURES_A_MEGAPIXEL * scene.reduced(config.max_image_size)
    return _DIRECTIONS * min(config.max_features, there)


def _surface(settings: Settings, name: str, scene: Scene) -> float:
    config = settings.section(name, "geometry")
    assert isinstance(config, GeometryConfig)
    megapixels = scene.reduced(config.longest_side)
    return config.iterations * (27 + 500 * megapixels) / 1000 + 4 + 0.6 * scene.views


def _pictures(settings: Settings, name: str, scene: Scene) -> float:
    """Cost of a stage that looks at the held-out views."""
    config = settings.section(name, "train")
    assert isinstance(config, TrainConfig)
    return 3 + 2.0 * scene.held_out * scene.reduced(config.longest_side, config.downsample)


_FORMULAS: dict[str, Callable[[Settings, str, Scene], float]] = {
    "scene": lambda _settings, _name, scene: 1 + scene.views * (0.05 + 0.05 * scene.megapixels),
    "colmap": _sfm,
    "geometry": _surface,
    "masks": lambda _settings, _name, scene: 2 + 2.0 * scene.views * min(1, scene.megapixels),
    "tracking": lambda _settings, _name, scene: 2 + 0.25 * scene.views,
    "render": _pictures,
    "grounding": _pictures,
    "metrics": _pictures,
}


def threads(settings: Settings, job: Job, cores: int) -> int:
    """Return the threads of a job."""
    if job.stage == "train":
        trainings = sum(
            len(settings.variants_of(name)) * len(settings.seeds_of(name))
            for name in settings.scenes
        )
        return max(1, min(_MOST_OF_TRAINING, cores // trainings))
    return min(cores, _THREADS.get(job.stage, 1))


def speedup(count: int) -> float:
    """Return how much faster so many threads are than one."""
    return _SPEEDUP[max(known for known in _SPEEDUP if known <= max(1, count))]


def on_gpu(settings: Settings, job: Job) -> bool:
    """Tell whether a job runs on a GPU."""
    if job.scene is None or job.stage not in ("train", "geometry"):
        return False
    section = settings.section(job.scene, job.stage, job.variant)
    return uses_gpu(getattr(section, "device", "cpu"))


def wall(settings: Settings, job: Job, scene: Scene, cores: int) -> float:
    """Return the seconds that a job takes on the reference machine, alone."""
    seconds = core_seconds(settings, job, scene)
    if not on_gpu(settings, job):
        seconds /= speedup(threads(settings, job, cores))
    return START_S + seconds


def memory(settings: Settings, job: Job, scene: Scene, cores: int) -> float:
    """Return the main memory that a job takes, bytes."""
    if job.scene is None:
        return 0.3e9
    if job.stage == "colmap":
        config = settings.section(job.scene, "colmap")
        assert isinstance(config, ColmapConfig)
        at_once = threads(settings, job, cores) * scene.reduced(config.max_image_size)
        return 0.3e9 + 0.15e9 * at_once
    if job.stage == "train":
        section = settings.section(job.scene, "train", job.variant)
        assert isinstance(section, TrainConfig)
        megapixels = scene.reduced(section.longest_side, section.downsample)
        kept = min(5e6 * megapixels * scene.views, section.views_gb * 1e9)
        return 0.85e9 + 3000 * gaussians(section, scene) + kept + 400e6 * megapixels
    return {"geometry": 1.3e9, "tracking": 1.1e9, "scene": 0.3e9}.get(job.stage, 0.9e9)


def disk(settings: Settings, job: Job, scene: Scene) -> float:
    """Return what a job writes, bytes, working files included."""
    if job.scene is None:
        return 1e6
    if job.stage == "scene":
        return float(scene.bytes)
    if job.stage == "colmap":
        config = settings.section(job.scene, "colmap")
        assert isinstance(config, ColmapConfig)
        return scene.views * (0.8e6 * scene.megapixels + 150 * _features(config, scene))
    trained = job.variant or settings.variants_of(job.scene)[0]
    section = settings.section(job.scene, "train", trained)
    assert isinstance(section, TrainConfig)
    pixels = 1e6 * scene.reduced(section.longest_side, section.downsample)
    if job.stage == "geometry":
        return scene.views * 15 * 77_000 + 10e6
    if job.stage == "train":
        return 1200 * gaussians(section, scene)  # with a checkpoint
    if job.stage == "render":
        return 40 * pixels * scene.held_out
    if job.stage == "view":
        return 100 * gaussians(section, scene)
    return 2e6


def results_folder(settings: Settings, job: Job) -> Path:
    """Return the folder that the logs and benchmarks of a job are below."""
    results = Path(settings.root.results)
    if job.scene is None:
        return results / "tables"
    if job.variant is None:
        return results / job.scene
    return results / job.scene / job.variant / f"seed{job.seed}"
