"""Modules that a job does not import with its configuration: they do not rerun it.

:func:`gradiseg_core.modules.closure` reads import statements, also those that only another
configuration reaches. This module names the modules that it finds in excess. Such a module must be
imported inside the function that needs it; ``tests/workflow/test_end_to_end.py`` runs the stages
and checks that none of them was imported.
"""

from __future__ import annotations

from pathlib import Path

from gradiseg_core.config.base import Section
from gradiseg_core.config.geometry import GeometryConfig, colour_only
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.config.train import TrainConfig

_CORE = Path(__file__).resolve().parents[1]

#: They only word errors and change no result.
ON_ERRORS = ("config/messages.py", "files/full_disk.py")
#: They run in jobs that have a GPU.
ON_GPUS = (
    "compute/gsplat_build.py",
    "compute/toolchain.py",
    "compute/triton_runtime.py",
    "splatting/losses/_identity_triton.py",
    "splatting/losses/_identity_triton_kernels.py",
    "splatting/losses/_photometric_triton.py",
    "splatting/neighbours/_stream_triton.py",
    "splatting/neighbours/cuda.py",
    "splatting/rasterization/gsplat.py",
    "stages/training/memory.py",
)
_REFERENCE = "splatting/rasterization/reference.py"
_RASTERIZATION = ("blending", "cpu", "harmonics", "lists", "projection", "gsplat")
_READERS = {"folder": "folder", "lerf_mask": "lerf_mask", "demo": "lerf_mask"}
_READERS["mipnerf360"] = "mipnerf360"


def idle(section: Section | None = None, *, gpu: bool = False) -> list[Path]:
    """Return the modules of the core that a job does not run.

    Args:
        section: The job's configuration.
        gpu: Whether it has a GPU. As it may fall back to the CPU, the modules of both count.
    """
    names = [*ON_ERRORS, *(() if gpu else ON_GPUS)]
    if isinstance(section, TrainConfig):
        names += _of_training(section, gpu=gpu)
    elif isinstance(section, GeometryConfig):
        names += _of_training(colour_only(), gpu=gpu)
    elif isinstance(section, RenderConfig):
        names += _of_rendering(section, gpu=gpu)
    elif isinstance(section, SceneConfig):
        used = _READERS.get(section.source)
        names += [f"stages/scene/{name}.py" for name in set(_READERS.values()) - {used}]
    return [_CORE / name for name in names]


def _of_training(config: TrainConfig, *, gpu: bool) -> list[str]:
    names = [] if gpu else [_REFERENCE]
    if config.init_from is None:
        names += ["stages/training/given.py", "files/splats.py", "editing/transforms.py"]
    if not config.needs_geometry:
        names.append("stages/training/surface.py")
    losses = config.losses
    if losses.blended == "encodings":
        names += [] if gpu else ["splatting/losses/blended.py"]
        if not (losses.robustness or losses.disagreement_width):
            names += [] if gpu else ["splatting/losses/robust.py"]
    if config.la_knn is None:
        names.append("splatting/neighbours/la_knn.py")
    if (config.la_knn is None or config.la_knn.candidates != "all") and not gpu:
        names.append("splatting/neighbours/_la_knn_kernel.py")
    return names


def _of_rendering(config: RenderConfig, *, gpu: bool) -> list[str]:
    if config.rasterizer == "reference":
        return [f"splatting/rasterization/{name}.py" for name in _RASTERIZATION]
    return [] if gpu else [_REFERENCE]
