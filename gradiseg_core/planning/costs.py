"""What the jobs of a scene take, by formulas measured on two cores (AMD EPYC, AVX-512).

Formulas give seconds of one core, some of which several cores can share (:class:`Work`). They are
right within a factor for another machine: :mod:`.rates` keeps that factor. Views are the
photographs of a scene. Three captures that they are fitted to are in tests/planning/test_costs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core.cameras import training_size
from gradiseg_core.compute.devices import uses_gpu
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.geometry import GeometryConfig, colour_only
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.root import Settings
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.files.work_files import noted_iteration
from gradiseg_core.planning import trainings
from gradiseg_core.planning.budgets import views_of

#: Photographs of a scene of which nothing is known, as of a download.
_USUAL_VIEWS = 60
_USUAL_SIZE = (1920, 1080)

#: How much faster several threads are than one.
_SPEEDUP = {1: 1.0, 2: 1.75, 3: 2.4, 4: 3.0, 8: 5.0}
#: Threads of a stage (rules/); one where it is not named. Training: rules/common.smk.
_THREADS = {"colmap": 8, "geometry": 4, "tracking": 2, "view": 2, "masks": 2}
_MOST_OF_TRAINING = 4
#: Starting Python and a stage with PyTorch, or without, seconds.
_START_S, _QUICK_START_S = 1.5, 0.5
_QUICK = {"scene", "colmap", "curves", "comparison", "scene_report", "tables", "quality"}

#: Features of an image of a megapixel, all directions: 5,000 to 11,700 were found.
_FEATURES_A_MEGAPIXEL = 8500
#: Features that a limit leaves have so many directions.
_DIRECTIONS = 1.8
#: How often more photographs are mapped, as a mean: not where all register at once, three times on
#: a shelf where half of them did.
_TRIED_AGAIN = 1.0


@dataclass(frozen=True)
class Work:
    """What a job takes after its start, seconds of one core.

    Attributes:
        shared: What several cores can share.
        alone: What one core does.
    """

    shared: float = 0.0
    alone: float = 0.0


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
    found = views_of(settings, name)
    views = _USUAL_VIEWS if found.count is None else found.count
    given = None if origin.path is None else find_given(origin.path)
    cameras = given is not None and bool(given.sparse or given.transforms)
    return Scene(views, found.size or _USUAL_SIZE, found.bytes, cameras)


def gaussians(config: TrainConfig, scene: Scene) -> float:
    """Return how many Gaussians a training ends with: as many as it may, or as scenes have."""
    grown = 400_000 * scene.reduced(config.longest_side, config.downsample) ** 0.5
    most = config.densification.max_gaussians
    return min(grown * max(0.1, min(1.0, config.iterations / 7000)), most or grown)


def work(settings: Settings, job: Job, scene: Scene, done: float = 0.0) -> Work:
    """Return what a job takes.

    Args:
        settings: The configuration.
        job: The job.
        scene: Its scene; of tables, any.
        done: Share of a training that was done before.
    """
    if job.scene is None:
        return Work()
    if job.stage == "train" and job.variant is not None:
        config = settings.section(job.scene, "train", job.variant)
        assert isinstance(config, TrainConfig)
        size, gpu = scene.resized(config.longest_side, config.downsample), uses_gpu(config.device)
        count = gaussians(config, scene)
        return Work(trainings.core_seconds(config, size, count, done, gpu=gpu))
    formula = _FORMULAS.get(job.stage)
    return Work() if formula is None else formula(settings, job.scene, scene)


def iterations(settings: Settings, job: Job, scene: Scene) -> trainings.Iterations:
    """Return what the iterations of a training take, as :func:`.trainings.by_formula`."""
    config = settings.section(job.scene or "", "train", job.variant)
    assert isinstance(config, TrainConfig)
    size, gpu = scene.resized(config.longest_side, config.downsample), uses_gpu(config.device)
    return trainings.by_formula(config, size, gaussians(config, scene), gpu=gpu)


def _sfm(settings: Settings, name: str, scene: Scene) -> Work:
    config = settings.section(name, "colmap")
    assert isinstance(config, ColmapConfig)
    undistorting = 0.15 * scene.views * scene.megapixels
    if scene.cameras and config.existing != "ignore":
        return Work(undistorting, 1)
    thousands = _features(config, scene) / 1000
    pairs = scene.views * (scene.views - 1) / 2
    if config.matcher == "sequential" or (config.matcher == "auto" and scene.views > 200):
        pairs = min(pairs, 20 * scene.views)
    matching = pairs * (0.008 + (thousands / 32) ** 2) * (1.5 if config.guided_matching else 1)
    mapping = scene.views * 0.03 * thousands * (1 + _TRIED_AGAIN)
    found = scene.views * (0.02 + 0.1 * thousands)
    return Work(found + matching + undistorting, 0.5 + mapping)


def _features(config: ColmapConfig, scene: Scene) -> float:
    there = _FEATURES_A_MEGAPIXEL * scene.reduced(config.max_image_size)
    return min(_DIRECTIONS * config.max_features, there)


def _surface(settings: Settings, name: str, scene: Scene) -> Work:
    config = settings.section(name, "geometry")
    assert isinstance(config, GeometryConfig)
    size, gpu = scene.resized(config.longest_side, None), uses_gpu(config.device)
    plain = colour_only(config.iterations, config.longest_side)
    count = gaussians(plain, scene)
    # Few Gaussians at first: 0.85 of an iteration with all of them.
    training = 0.85 * config.iterations * trainings.by_formula(plain, size, count, gpu=gpu).early
    megapixels = scene.reduced(config.longest_side)
    sharpening = 12 * megapixels * (scene.views - scene.held_out)
    pictures = 2 * megapixels * scene.views
    return Work(training + sharpening, 3 + pictures)


def _objects(settings: Settings, name: str, scene: Scene) -> Work:
    return Work(alone=1 + scene.views * (0.12 + 0.5 * min(0.4, scene.megapixels)))


def _pictures(each: float) -> Callable[[Settings, str, Scene], Work]:
    """Return the formula of a stage that looks at the held-out views.

    Args:
        each: Seconds that a megapixel takes.
    """

    def formula(settings: Settings, name: str, scene: Scene) -> Work:
        config = settings.section(name, "train")
        assert isinstance(config, TrainConfig)
        megapixels = scene.reduced(config.longest_side, config.downsample)
        return Work(alone=0.2 + each * scene.held_out * megapixels)

    return formula


_FORMULAS: dict[str, Callable[[Settings, str, Scene], Work]] = {
    "scene": lambda _settings, _name, scene: Work(scene.views * (0.02 + 0.05 * scene.megapixels)),
    "colmap": _sfm,
    "geometry": _surface,
    "masks": lambda _settings, _name, scene: Work(2.0 * scene.views * min(1, scene.megapixels)),
    "tracking": _objects,
    "render": _pictures(4.0),
    "grounding": _pictures(0.5),
    "metrics": _pictures(0.5),
    "view": lambda _settings, _name, _scene: Work(alone=1.0),
    "comparison": lambda _settings, _name, _scene: Work(alone=0.5),
    "curves": lambda _settings, _name, _scene: Work(alone=0.5),
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


def wall(settings: Settings, job: Job, scene: Scene, cores: int, done: float = 0.0) -> float:
    """Return the seconds that a job takes on the reference machine, alone.

    Args:
        settings: The configuration.
        job: The job.
        scene: Its scene; of tables, any.
        cores: That the workflow may use.
        done: Share of a training that was done before.
    """
    found = work(settings, job, scene, done)
    faster = 1.0 if on_gpu(settings, job) else speedup(threads(settings, job, cores))
    start = _QUICK_START_S if job.stage in _QUICK else _START_S
    return start + found.alone + found.shared / faster


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
        bytes_px = 9 if section.needs_geometry else 5
        kept = min(1e6 * bytes_px * megapixels * scene.views, section.views_gb * 1e9)
        most = trainings.at_most(section, gaussians(section, scene))
        return 0.85e9 + 3000 * most + kept + 400e6 * megapixels
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


def done_before(settings: Settings, job: Job) -> float:
    """Return the share of a training that a run which was stopped has left."""
    if job.stage != "train" or job.scene is None or job.variant is None:
        return 0.0
    config = settings.section(job.scene, "train", job.variant)
    assert isinstance(config, TrainConfig)
    work = Path(settings.root.results, job.scene, ".work", job.variant, str(job.seed))
    iteration = noted_iteration(work / "checkpoints", config.digest(job.seed or 0))
    return min(1.0, iteration / config.iterations)


def results_folder(settings: Settings, job: Job) -> Path:
    """Return the folder that the logs and benchmarks of a job are below."""
    results = Path(settings.root.results)
    if job.scene is None:
        return results / "tables"
    if job.variant is None:
        return results / job.scene
    return results / job.scene / job.variant / f"seed{job.seed}"
