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
    from gradiseg_core.version import __version__

__all__ = ["Scene", "__version__", "load"]

_MODULES = {"Scene": "editing.scene", "load": "editing.scene", "__version__": "version"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: they need PyTorch, which takes seconds."""
    if name in _MODULES:
        # By name: an import statement would make all of it an input of every stage (modules.py).
        return getattr(importlib.import_module(f"gradiseg_core.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names before they are imported, for completion."""
    return sorted({*globals(), *__all__})
