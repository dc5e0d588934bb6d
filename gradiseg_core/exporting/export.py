"""One scene into one format: what is chosen, how the files are called, what is said of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.exports import OF_GAUSSIANS, ExportConfig
from gradiseg_core.errors import InputError
from gradiseg_core.exporting.cloud import Cloud, activated_opacities
from gradiseg_core.files.palette import id_colors
from gradiseg_core.files.trained import TrainedScene

#: Ends of the files' names; formats without one are folders.
SUFFIXES = {
    "ply": ".ply",
    "compressed_ply": ".compressed.ply",
    "spz": ".spz",
    "glb": ".glb",
    "labels": ".ply",
    "objects": ".json",
}
#: Bytes of a name in a file's name, which may have 255 in all.
_LONGEST = 150
_FLIP = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        cloud: Gaussians in the user's axes and units.
        trained: Classifier and metadata.
        objects: A row for every ID, as JSON: ``id``, ``name``, ``count``, ``centre``, ``box``, ...
        mask_of: Returns which Gaussians, [N], a :data:`gradiseg_core.config.picks.What` means;
            raises InputError for what is not there.
        colmap: Output of stage `colmap`, or None.
        pictures: Folder of the objects' pictures, ``<id>.png``, or None.
        splits: ``train`` or ``test`` by view; empty where unknown.
    """

    cloud: Cloud
    trained: TrainedScene
    objects: Sequence[Mapping[str, Any]]
    mask_of: Callable[[Any], NDArray[np.bool_]]
    colmap: Path | None
    pictures: Path | None
    splits: Mapping[str, str]

    @property
    def names(self) -> dict[int, str]:
        """Names by ID, of those that have one."""
        return {row["id"]: row["name"] for row in self.objects if row["name"]}


def export(source: Source, out: Path, config: ExportConfig) -> list[Path]:
    """Write a scene in one format.

    Args:
        source: The scene.
        out: File to write; a folder for `gaussian_grouping`, `nerfstudio`, `colmap` and with
            ``split``.
        config: Format, objects, axes.

    Returns:
        The files written; of a format that is a folder, the folder.

    Raises:
        InputError: If an object is not there, nothing is left to write, or the scene lacks what
            the format needs.
        BackendUnavailableError: Without a package that the format needs.
    """
    if config.format in OF_GAUSSIANS:
        return _export_gaussians(source, out, config)
    if config.format == "objects":
        return [_export_table(source, out, config)]
    if config.format == "gaussian_grouping":
        from gradiseg_core.exporting.grouping import write_grouping

        metadata = source.trained.metadata
        write_grouping(
            out,
            source.cloud,
            source.trained.classifier,
            iterations=int(metadata.get("iterations", 0)),
            white_background=metadata.get("background") == "white",
        )
        return [out]
    _export_cameras(source, out, config)
    return [out]


def file_name(name: str, config: ExportConfig) -> str:
    """Return what a file of an export of this name is called; a folder keeps the name."""
    return name if config.split else name + SUFFIXES.get(config.format, "")


def slug(text: str) -> str:
    """Return a name as part of a file's name: letters and digits, joined by ``_``."""
    joined = "_".join(re.findall(r"[^\W_]+", text.lower())) or "object"
    return joined.encode()[:_LONGEST].decode(errors="ignore")


def _export_gaussians(source: Source, out: Path, config: ExportConfig) -> list[Path]:
    chosen = [source.mask_of(what) for what in config.objects]
    if not config.split:
        cloud = source.cloud
        _write(out, cloud.take(np.any(chosen, axis=0)) if chosen else cloud, source, config)
        return [out]
    if chosen:
        stems = [stem_of(what, index) for index, what in enumerate(config.objects)]
    else:
        ids = source.cloud.ids
        rows = [row for row in source.objects if (ids == row["id"]).any()]
        chosen = [ids == row["id"] for row in rows]
        names = [f"_{slug(row['name'])}" if row["name"] else "" for row in rows]
        stems = [f"{row['id']:03d}{name}" for row, name in zip(rows, names, strict=True)]
    if len(set(stems)) != len(stems):
        raise InputError(f"two of the objects {', '.join(map(str, config.objects))} are the same")
    written = []
    for stem, mask in zip(stems, chosen, strict=True):
        written.append(out / (stem + SUFFIXES[config.format]))
        _write(written[-1], source.cloud.take(mask), source, config)
    return written


def stem_of(what: Any, index: int) -> str:
    """Return what the file of a chosen object is called: its name or ID, or its number."""
    return slug(str(what)) if isinstance(what, int | str) else f"choice_{index}"


def _write(path: Path, cloud: Cloud, source: Source, config: ExportConfig) -> None:
    """Write Gaussians to one file."""
    if len(cloud) == 0:
        raise InputError(f"{path.name}: no Gaussian is left to write")
    present = {index: name for index, name in source.names.items() if index in set(cloud.ids)}
    if config.axes == "y_up":
        cloud = cloud.y_up()
    if config.format == "spz":
        from gradiseg_core.exporting.packed import write_spz

        write_spz(path, cloud)
    elif config.format == "compressed_ply":
        from gradiseg_core.exporting.packed import write_compressed_ply

        write_compressed_ply(path, cloud)
    elif config.format == "glb":
        from gradiseg_core.exporting.glb import write_glb

        names = {str(index): name for index, name in present.items()}
        write_glb(
            path,
            cloud,
            turned=config.axes == "y_up",
            object_id=config.object_id,
            extras={"objects": names},
        )
    elif config.format == "labels":
        from gradiseg_core.exporting.ply import write_points

        points = cloud.means.astype(np.float64) + cloud.offset
        write_points(
            path,
            points,
            label_colours(cloud.ids),
            ids=cloud.ids,
            confidence=cloud.certainty,
            opacity=activated_opacities(cloud),
            comments=comments(cloud, config, present, shifted=False),
        )
    else:
        from gradiseg_core.exporting.ply import write_gaussians

        named = present if config.object_id else {}
        write_gaussians(
            path, cloud, object_id=config.object_id, comments=comments(cloud, config, named)
        )


def label_colours(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the colour of every label, [N, 3]: those of ID maps, background grey."""
    palette = id_colors(int(ids.max(initial=0)) + 1)
    palette[0] = 128  # black points are not seen on a viewer's black
    return palette[ids]


def comments(
    cloud: Cloud, config: ExportConfig, names: Mapping[int, str], *, shifted: bool = True
) -> list[str]:
    """Return what a PLY's header says of its axes, its units and its objects."""
    from gradiseg_core.version import __version__

    axes = "y up, z back" if config.axes == "y_up" else "axes"
    lines = [f"GradiSeg {__version__}", f"{axes} and units of the COLMAP model"]
    if shifted and cloud.offset.any():
        lines.append("offset " + " ".join(repr(float(value)) for value in cloud.offset))
    return lines + [f"object {index} {name}" for index, name in sorted(names.items())]


def _export_table(source: Source, out: Path, config: ExportConfig) -> Path:
    """Write ``objects.json``, and thumbnails in a folder of its name beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(out.stem + "_thumbnails")
    rows = []
    for row in source.objects:
        turned = dict(row)
        picture = source.pictures and source.pictures / f"{row['id']}.png"
        if picture is not None and picture.is_file():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(picture, folder / picture.name)
            turned["thumbnail"] = f"{folder.name}/{picture.name}"
        else:
            turned["thumbnail"] = None
        if config.axes == "y_up":
            box = row["box"]
            turned["centre"] = (_FLIP * row["centre"]).tolist()
            turned["box"] = {
                "centre": (_FLIP * box["centre"]).tolist(),
                "axes": (np.array(box["axes"]) * _FLIP).tolist(),
                "size": box["size"],
            }
        rows.append(turned)
    content = {
        "format": 1,
        "units": "those of the COLMAP model",
        "axes": config.axes,
        "about": "box: x is inside where |axes (x - centre)| <= size / 2; probability: mean over "
        "the object's Gaussians",
        "objects": rows,
    }
    out.write_text(json.dumps(content, indent=1) + "\n")
    return out


def _export_cameras(source: Source, out: Path, config: ExportConfig) -> None:
    if source.colmap is None:
        raise InputError(
            "the scene has no cameras: its Gaussians lie outside of results/<scene>, where stage "
            "`colmap` puts them, or a run that makes these again is not finished"
        )
    from gradiseg_core.exporting.cameras import write_colmap, write_nerfstudio
    from gradiseg_core.files.colmap import load_points, load_user_cameras, load_user_points

    if config.format == "colmap":
        write_colmap(out, source.colmap / "sparse" / "0")
        return
    write_nerfstudio(
        out,
        load_user_cameras(source.colmap),
        source.colmap / "images",
        source.splits,
        load_user_points(source.colmap),
        load_points(source.colmap)[1],
        y_up=config.axes == "y_up",
    )
