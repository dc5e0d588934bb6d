"""One export of one trained scene."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.editing.export import source_of
from gradiseg_core.editing.scene import load
from gradiseg_core.exporting.export import export, file_name
from gradiseg_core.version import __version__

logger = logging.getLogger(__name__)


def export_run(*, folder: Path, out_dir: Path, name: str, config: ExportConfig) -> None:
    """Write a trained scene for another program.

    Writes the files of the format, called after the export, and ``export.json``: what was written,
    and in which axes and units.

    Args:
        folder: Output of stage `train`, or an edited scene; grounding's names, tracking's pictures
            and the cameras are found around it.
        out_dir: Folder to write.
        name: Of the export.
        config: What is written.

    Raises:
        InputError: If an object is not there, or the scene lacks what the format needs.
        BackendUnavailableError: Without a package that the format needs.
    """
    scene = load(folder, device="cpu")
    source = source_of(scene)
    out_dir.mkdir(parents=True, exist_ok=True)
    whole = config.split or file_name(name, config) == name  # the format is a folder
    written = export(source, out_dir if whole else out_dir / file_name(name, config), config)
    files = sorted(path for path in out_dir.rglob("*") if path.is_file())
    record = {
        "gradiseg": __version__,
        "name": name,
        "options": config.model_dump(mode="json"),
        "files": [path.relative_to(out_dir).as_posix() for path in files],
        "axes": _axes(config),
        "units": "of the COLMAP model",
        "offset": source.cloud.offset.tolist(),
        "about_offset": "to be added to positions for those of the COLMAP model; zero unless the "
        "model lies far from its origin (cameras, labels and tables hold it already)",
    }
    (out_dir / "export.json").write_text(json.dumps(record, indent=1) + "\n")
    logger.info("%s: %s", name, ", ".join(str(path) for path in written[:3]))


def _axes(config: ExportConfig) -> str:
    if config.axes == "y_up":
        return "OpenGL's, half a turn about x from the COLMAP model's"
    if config.format == "spz":
        return "of the COLMAP model, when read by what follows SPZ's specification (y up on disk)"
    return "of the COLMAP model"
