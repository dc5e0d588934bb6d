"""A scene without one of its objects: `python examples/remove.py RUN OBJECT OUT`.

OUT then holds the edited scene, which `gradiseg_core.load` reads, and pictures of all test views.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import gradiseg_core


def main(run: str, name: str, out: str) -> None:
    """Remove an object, close the hole, render."""
    scene = gradiseg_core.load(run)
    edited = scene.edit([{"remove": int(name) if name.isdecimal() else name}])
    edited.save(out)
    done = edited.history[-1]
    print(f"{done['removed']} Gaussians removed, {done['filled']['new']} new")
    for view in (view for view, split in scene.splits.items() if split == "test"):
        picture = (255 * edited.render(view).color + 0.5).astype(np.uint8)
        Image.fromarray(picture).save(Path(out) / f"{Path(view).stem}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
