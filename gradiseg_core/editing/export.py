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
            the scene lacks what the format needs, or ``out`` cannot be written.
    """
    out, source = Path(out), source_of(scene)
    objects = options.get("objects")
    if isinstance(objects, Selection):
        source = replace(source, cloud=source.cloud.take(scene.select(objects).mask))
        options = {**options, "objects": ()}
    config = options_of(out, format, **options)
    try:
        return export(source, out, config)
    except OSError as error:  # no right to write, something in the way, disk full
        if error.strerror is None:
            raise
        raise InputError(
            f"{error.filename or out} cannot be written ({error.strerror}); name another place"
        ) from error


def options_of(out: Path, format: str | None, **options: Any) -> ExportConfig:
    """Return the options of an export, checked.

    Raises:
        InputError: If the format is not known, options do not go together, or ``out`` is called,
            or is already, what the format does not make.
    """
    if format is None:
        format = _format_of(out)
    objects = options.get("objects", ())
    if isinstance(objects, int | str | Mapping):
        objects = (objects,)
    try:
        config = ExportConfig(**{**options, "format": format, "objects": objects})
    except ValidationError as error:
        raise InputError("; ".join(_lines(error))) from error
    _check_place(out, config)
    return config


def _check_place(out: Path, config: ExportConfig) -> None:
    """Check that a name does not promise another format, and that nothing is in the way."""
    own = None if config.split else SUFFIXES.get(config.format)
    ends = [end for end in SUFFIXES.values() if out.name.lower().endswith(end)]
    if own is None:
        if ends and not out.is_dir():
            what = "split" if config.split else config.format
            raise InputError(f"{out}: {what} makes a folder of several files; name a folder")
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file; name a folder for the files")
        return
    # A compressed PLY is a PLY, which programs tell by its header.
    if ends and not any(own.endswith(end) or end.endswith(own) for end in ends):
        raise InputError(
            f"{out.name} ends like another format than {config.format}; let it end in {own}, or "
            "leave the format out"
        )
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file in it, such as {out / ('scene' + own)}")


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
    from gradiseg_core.config.messages import explain

    return [line.removeprefix("config: ") for line in explain(error, ExportConfig)]
