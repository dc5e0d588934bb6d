"""Make a page's pictures of a scene from its finished runs.

Usage: ``python -m docs.pictures RESULTS/SCENE NAME [--variant VARIANT]``

Writes ``docs/images/NAME.jpg``, the first rendered view of a variant beside its photograph and
labels, and where several variants ran ``NAME_boundaries.jpg``, this view and its worst crop with
the labels of every variant. Where stage `geometry` found objects, ``NAME_surface.jpg`` is what it
shows of this view and ``NAME_objects.jpg`` the surface from above.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from docs.build import DOCS
from docs.surface_view import surface_view
from gradiseg_core.files.geometry import load_geometry
from gradiseg_core.files.images import write_image
from gradiseg_core.stages.report.qualitative import plot_qualitative

_QUALITY = 88
_WIDTH = 1400  # px: what a page shows


def save(source: Path, name: str) -> Path:
    """Write a picture as ``docs/images/<name>.jpg``, no wider than a page shows."""
    with Image.open(source) as file:
        picture = file.convert("RGB")
    if picture.width > _WIDTH:
        height = round(picture.height * _WIDTH / picture.width)
        picture = picture.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    out = DOCS / "images" / f"{name}.jpg"
    picture.save(out, quality=_QUALITY, optimize=True)
    return out


def make(scene: Path, name: str, variant: str) -> list[Path]:
    """Write the pictures of a scene's first seed.

    Args:
        scene: Folder of the scene's results.
        name: Of the pictures.
        variant: The one that is shown alone.

    Raises:
        FileNotFoundError: If the variant was not rendered.
    """
    views = sorted(scene.glob(f"{variant}/seed*/render/side_by_side/*.png"))
    if not views:
        raise FileNotFoundError(f"{scene} has no rendering of {variant}; run the workflow first")
    written = [save(views[0], name)]
    surface = scene / "geometry" / "previews" / views[0].name
    if surface.is_file() and load_geometry(scene / "geometry").found:
        written.append(save(surface, f"{name}_surface"))
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "above.png"
            write_image(picture, surface_view(scene / "geometry"))
            written.append(save(picture, f"{name}_objects"))
    seed = views[0].parents[2].name
    renders = [path.parent for path in sorted(scene.glob(f"*/{seed}/render/render.json"))]
    if len(renders) > 1:
        with tempfile.TemporaryDirectory() as folder:
            figure = Path(folder) / "comparison.png"
            plot_qualitative(scene / "scene", scene / "colmap", renders, figure, max_views=1)
            written.append(save(figure, f"{name}_boundaries"))
    return written


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("name")
    parser.add_argument("--variant", default="gradiseg")
    options = parser.parse_args()
    for path in make(options.scene, options.name, options.variant):
        print(path)


if __name__ == "__main__":
    main()
