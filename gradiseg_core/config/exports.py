"""Configuration of section ``exports``: files of trained scenes for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from gradiseg_core.config.base import NAME, Conflict, Section, option
from gradiseg_core.config.picks import StoredSelection, What, stored

Format = Literal[
    "ply",
    "compressed_ply",
    "spz",
    "glb",
    "labels",
    "gaussian_grouping",
    "objects",
    "nerfstudio",
    "colmap",
]
Axes = Literal["colmap", "y_up"]

#: Formats of single Gaussians, of which some can be left out.
OF_GAUSSIANS = ("ply", "compressed_ply", "spz", "glb", "labels")
#: Formats that can hold the ID of every Gaussian where that is asked for.
WITH_IDS = ("ply", "glb")
#: Formats whose axes are not for the user to choose, and why.
FIXED_AXES = {
    "spz": "is always stored with y up, as its specification says, and turned back by readers",
    "gaussian_grouping": "belongs to the cameras of the COLMAP model",
    "colmap": "has the axes of the COLMAP model",
}


class ExportConfig(Section):
    """One export of every trained scene."""

    format: Format = option(
        ...,
        "`ply` (3DGS), `compressed_ply` (PlayCanvas), `spz` (Niantic), `glb` "
        "(KHR_gaussian_splatting), `labels` (coloured points with IDs), `gaussian_grouping` (its "
        "PLY and classifier), `objects` (a table), `nerfstudio` and `colmap` (cameras).",
    )
    objects: tuple[What, ...] = option(
        (),
        "[Parts](#a-part-of-a-scene) to write; empty: the whole scene.",
    )
    edit: str | None = option(None, "The edit that is exported; null: the trained scene.")
    split: bool = option(False, "One file for each object.")
    object_id: bool = option(False, "`ply` and `glb`: add the most probable ID of every Gaussian.")
    axes: Axes = option(
        "colmap",
        "Those of the COLMAP model, or `y_up`: half a turn about x further, OpenGL's.",
    )

    @property
    def stored(self) -> list[StoredSelection]:
        """The selections of files that it names."""
        return [entry for what in self.objects for entry in stored(what)]

    def conflicts(self) -> Iterator[Conflict]:
        """Keys that a format has no use for."""
        if self.format not in OF_GAUSSIANS:
            for key in ("objects", "split"):
                if getattr(self, key):
                    yield Conflict(
                        (key, "format"), f"{self.format} is of the whole scene; leave {key} out"
                    )
        if self.object_id and self.format not in WITH_IDS:
            yield Conflict(
                ("object_id", "format"),
                f"{self.format} holds no single property of one's own"
                + (" (labels have object_id in any case)" if self.format == "labels" else "")
                + f"; {' and '.join(WITH_IDS)} do",
            )
        if self.axes != "colmap" and self.format in FIXED_AXES:
            yield Conflict(("axes", "format"), f"{self.format} {FIXED_AXES[self.format]}")


Exports = dict[Annotated[str, Field(pattern=NAME)], ExportConfig]
"""Exports by name; each name is a folder."""
