"""pycolmap is imported in one place only, after Pillow's codecs (see `files._pycolmap`)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import gradiseg_core

PACKAGE = Path(gradiseg_core.__file__).parent

_READS_AND_WRITES = """
import io
from gradiseg_core.files._pycolmap import pycolmap
import numpy as np
from PIL import Image
pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
file = io.BytesIO()
Image.fromarray(pixels).save(file, "PNG")
assert (np.asarray(Image.open(file)) == pixels).all()
file = io.BytesIO()
np.savez_compressed(file, pixels=pixels)
file.seek(0)
assert (np.load(file)["pixels"] == pixels).all()
print(pycolmap.__version__)
"""


def test_png_and_npz_work_beside_pycolmap():
    done = subprocess.run(
        [sys.executable, "-c", _READS_AND_WRITES],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr


def test_no_module_imports_it_otherwise():
    found = []
    for file in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "workflow_scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "pycolmap" for name in names):
                found.append(file.name)
    assert found == ["_pycolmap.py"]
