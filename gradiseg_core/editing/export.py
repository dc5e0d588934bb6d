"""What of a loaded scene goes into a file of another program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.editing.selecting import selected
from gradiseg_core.editing.selection import Selection
from gradiseg_core.errors import InputError
from gradiseg_core.exporting.cloud import cloud_of
from gradiseg_core.exporting.export import SUFFIXES, Source, export

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene


def source_of(scene: Scene) -> Source:
    """Return what is exported of a scene."""
    return Source(
        cloud=cloud_of(scene.trained, scene.frame, scene.ids, scene.certainty),
        trained=scene.trained,
        objects=[row.as_json() for row in scene.objects],
        mask_of=lambda what: selected(scene, what).mask,
        colmap=scene.run.colmap,
        pictures=None if scene.run.scene is None else scene.run.scene / "tracking" / "objects",
        splits=scene.splits,
    )


def export_scene(
    scene: Scene, out: Path | str, format: str | None = None, **options: Any
) -> list[Path]:
    """Write a scene for another program.

    Args:
        scene: A scene of :func:`gradiseg_core.load`.
        out: File to write, or a folder where the format is several files.
        format: See section `exports` of the configuration; None: by the end of ``out``.
        **options: The other keys of that section: ``objects`` (also one name, ID or selection),
            ``split``, ``object_id``, ``axes``.

    Returns:
        The files written.

    Raises:
        InputError: If the format is not known, options do not go together, an object is not there,
            or the scene lacks what the format needs.
    """
    out, source = Path(out), source_of(scene)
    objects = options.get("objects")
    if isinstance(objects, Selection):
        source = replace(source, cloud=source.cloud.take(scene.select(objects).mask))
        options = {**options, "objects": ()}
    return export(source, out, options_of(out, format, **options))


def options_of(out: Path, format: str | None, **options: Any) -> ExportConfig:
    """Return the options of an export, checked.

    Raises:
        InputError: If the format is not known, or options do not go together.
    """
    if format is None:
        format = _format_of(out)
    objects = options.get("objects", ())
    if isinstance(objects, int | str | Mapping):
        objects = (objects,)
    try:
        return ExportConfig(**{**options, "format": format, "objects": objects})
    except ValidationError as error:
        raise InputError("; ".join(_lines(error))) from error


def _format_of(out: Path) -> str:
    """Return the format of a file by its name's end; the longest end that fits."""
    ends = {end: name for name, end in reversed(SUFFIXES.items())}
    for end in sorted(ends, key=len, reverse=True):
        if out.name.lower().endswith(end):
            return ends[end]
    raise InputError(
        f"{out.name} does not tell the format by its end ({', '.join(ends)}); name one: "
        f"{', '.join(_formats())}"
    )


def _formats() -> Sequence[str]:
    from typing import get_args

    from gradiseg_core.config.exports import Format

    return get_args(Format)


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        text = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {text}" if where else text)
    return lines
