"""What files import from outside this project."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from gradiseg_core.modules import PACKAGE_DIR, imported_names

# Modules that import a package which their own package does not require.
ALSO_NEEDS = (
    ("torch.utils.tensorboard", "tensorboard"),
    ("lpips", "torchvision"),
    ("segment_anything", "torchvision"),
    ("transformers", "torchvision"),  # the image processor of Grounding DINO
)


def host_packages() -> list[str]:
    """What the Python that runs Snakemake needs if every job has an environment, by README.md."""
    page = (PACKAGE_DIR.parent / "README.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"Snakemake itself needs only ([^.]*)\.", page)
    return re.findall(r"`([^`]+)`", named)


def third_party(files: Iterable[Path]) -> set[str]:
    """The top-level names that the files import from outside the core and Python."""
    names = {name for file in files if file.suffix == ".py" for name in imported_names(file)}
    tops = {name.partition(".")[0] for name in names}
    tops |= {top for module, top in ALSO_NEEDS for name in names if name.startswith(module)}
    return tops - {PACKAGE_DIR.name, *sys.stdlib_module_names}
