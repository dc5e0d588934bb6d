"""The scene's manifest, ``scene.json``: its views, their order and split, what is annotated.

Views are sorted by name, numbers by value, so that `2.jpg` comes before `10.jpg`. Many cameras
number without leading zeros, and the order of views decides which of them are test views, which
are matched, and which are neighbours for a tracker. For names whose numbers have equally many
digits this is the order of the characters. The package `natsort` would change that one as well (it
puts `a1` before `a-1`), hence :func:`by_name`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gradiseg_core.errors import InputError

FILE_NAME = "scene.json"
SURFACE_FILE = "surface.npz"
Size = tuple[int, int]
_NUMBER = re.compile(r"[0-9]+|[^0-9]")


class SceneView(BaseModel):
    """One photograph of a scene, as its manifest lists it.

    Attributes:
        name: File name in ``images/``, with suffix.
        split: Whether the view trains or tests.
        test_index: k of ``test_mask/<k>``: its place among the test views; None in training.
        width: Width of the image in `images/`, px.
        height: Its height, px.
        original: The user's file, relative to the folder of the photographs, where it is called
            otherwise than the view; else None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    split: Literal["train", "test"]
    test_index: int | None = None
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    original: str | None = None

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return self.name.rsplit(".", 1)[0]


class Unused(BaseModel):
    """A file of the user's that shows a photograph and is no view.

    Attributes:
        file: Relative to the folder of the photographs.
        why: It cannot be read (`skip_unreadable`), another file has the same picture, or it is a
            stitched panorama.
        detail: What is wrong with it, the other file, or its size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    why: Literal["unreadable", "copy", "panorama"]
    detail: str


class Available(BaseModel):
    """Which optional parts the scene folder holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_mask: bool = False
    gt_ids: bool = False
    ground_truth: bool = False
    object_mask: bool = False
    sparse: bool = False
    surface: bool = False


class SceneManifest(BaseModel):
    """All that later stages need to know about a scene folder.

    Attributes:
        name: The scene's name in the configuration.
        source: Where it came from.
        views: All views, by name, numbers by value.
        prompts: Annotated phrases, in the order of the tables.
        has: The optional parts that are present.
        downsampled: How many times the images were reduced after ``sparse/`` was made from them,
            up to rounding; 1 where it belongs to these images.
        ordered: Whether the views are frames of videos: neighbours by name are so in time.
        unused: Photographs that are no views.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: Literal["demo", "folder", "lerf_mask", "mipnerf360"]
    views: list[SceneView] = Field(min_length=1)
    prompts: list[str] = []
    has: Available = Available()
    downsampled: int = Field(default=1, ge=1)
    ordered: bool = False
    unused: list[Unused] = []

    @model_validator(mode="after")
    def _consistent(self) -> SceneManifest:
        names = [view.name for view in self.views]
        if names != in_order(names):
            raise ValueError("views are not sorted by name")
        stems = [view.stem for view in self.views]
        if len(set(stems)) != len(stems):
            raise ValueError("two views share a name (without suffix)")
        for k, view in enumerate(self.test_views):
            if view.test_index != k:
                raise ValueError(f"test view {view.name} has test_index {view.test_index}, not {k}")
        for view in self.train_views:
            if view.test_index is not None:
                raise ValueError(f"training view {view.name} has a test_index")
        if len(set(self.prompts)) != len(self.prompts):
            raise ValueError("a prompt is listed twice")
        return self

    @property
    def train_views(self) -> list[SceneView]:
        """Training views, sorted by name."""
        return [view for view in self.views if view.split == "train"]

    @property
    def test_views(self) -> list[SceneView]:
        """Test views, sorted by name; ``test_views[k]`` belongs to ``test_mask/<k>``."""
        return [view for view in self.views if view.split == "test"]

    @property
    def sizes(self) -> dict[tuple[int, int], int]:
        """How many views are of each (width, height), px; the most frequent size first."""
        return dict(Counter((view.width, view.height) for view in self.views).most_common())

    def save(self, scene_dir: Path) -> None:
        """Write ``scene_dir/scene.json``."""
        text = json.dumps(self.model_dump(), indent=1, ensure_ascii=False)
        (scene_dir / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, scene_dir: Path) -> SceneManifest:
        """Read ``scene_dir/scene.json``.

        Raises:
            InputError: If the file is missing, is not JSON, or contradicts itself.
        """
        path = scene_dir / FILE_NAME
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise InputError(f"no {FILE_NAME} in {scene_dir}: run stage `scene` first") from error
        except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
            raise InputError(
                f"{path} is not a valid manifest ({error}); delete it and rerun stage `scene`"
            ) from error


def by_name(name: str) -> tuple[tuple[tuple[int, int], ...], str]:
    """Return the key that sorts names of views, for `sorted(..., key=by_name)`.

    A number stands where its first digit stands among the characters; equal numbers ("1", "01")
    leave the decision to what follows, and at last to the characters.
    """
    parts = _NUMBER.findall(name)
    key = tuple((ord("0"), int(p)) if p[0] in "0123456789" else (ord(p), 0) for p in parts)
    return key, name


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of views in their order."""
    return sorted(names, key=by_name)


def split_views(
    names: Sequence[str], size: Size | Mapping[str, Size], test_names: set[str]
) -> list[SceneView]:
    """Return the views sorted by name, those in ``test_names`` numbered as test views.

    Args:
        names: File names of all images.
        size: Their (width, height), px: one for all, or by name.
        test_names: The file names that are held out.
    """
    views, k = [], 0
    for name in in_order(names):
        width, height = size[name] if isinstance(size, Mapping) else size
        is_test = name in test_names
        views.append(
            SceneView(
                name=name,
                split="test" if is_test else "train",
                test_index=k if is_test else None,
                width=width,
                height=height,
            )
        )
        k += is_test
    return views


def said_sizes(manifest: SceneManifest, most: int = 3) -> str:
    """Return the sizes of a scene's views as text: `400 x 300`, or `400 x 300 (20), 300 x 400 (4)`.

    Args:
        manifest: The scene.
        most: How many sizes are named; the others are counted.
    """
    sizes = manifest.sizes
    if len(sizes) == 1:
        return " x ".join(map(str, next(iter(sizes))))
    named = [f"{width} x {height} ({n})" for (width, height), n in list(sizes.items())[:most]]
    more = f" and {len(sizes) - most} more sizes" if len(sizes) > most else ""
    return ", ".join(named) + more


def every_nth(names: Sequence[str], n: int) -> set[str]:
    """Return every ``n``-th of ``names`` in their order, the first included."""
    return set(in_order(names)[::n])
