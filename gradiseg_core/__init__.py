"""GradiSeg: 3D Gaussians that know which object they belong to.

The package holds every computation of the pipeline as functions of paths and tensors. It never
imports Snakemake, and importing it needs neither a GPU nor a compiler: heavy imports are local to
the modules that use them.

:func:`load` reads a trained scene, to render, select and edit it::

    import gradiseg_core

    scene = gradiseg_core.load("results/demo/gradiseg/seed0")
    scene.render("test_0").color
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene, load

__version__ = "0.1.0"
__all__ = ["Scene", "load"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: they need PyTorch, which takes seconds."""
    if name in __all__:
        # By name: an import statement would make all of it an input of every stage (modules.py).
        return getattr(importlib.import_module("gradiseg_core.editing.scene"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
