"""Where a trained scene lies, and what lies around it.

A run is `<results>/<scene>/<variant>/seed<n>`. Its Gaussians are in `train/`, those of an edited
copy in `edits/<name>/`; the cameras are in `<results>/<scene>/colmap`.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradiseg_core.errors import InputError

#: Of an edited scene: what was done to it, and which run it was made from.
EDIT_FILE = "edit.json"
_GAUSSIANS = "point_cloud.ply"


@dataclass(frozen=True)
class Run:
    """The folders of a trained or edited scene.

    Attributes:
        gaussians: Holds `point_cloud.ply` and what belongs to it.
        run: `<results>/<scene>/<variant>/seed<n>`: of an edited scene, what it was made from.
        scene: `<results>/<scene>`, or None where the Gaussians lie outside of results.
        done: What edits did to the run's own Gaussians, an entry for every operation.
    """

    gaussians: Path
    run: Path
    scene: Path | None
    done: tuple[dict[str, Any], ...] = ()

    @property
    def colmap(self) -> Path | None:
        """Undistorted photographs and cameras, where there are some."""
        return self._of_scene("colmap")

    @property
    def manifest(self) -> Path | None:
        """The folder that holds `scene.json`, where there is one."""
        return self._of_scene("scene")

    @property
    def surface(self) -> Path | None:
        """The result of stage `geometry`, where it ran."""
        return self._of_scene("geometry")

    def _of_scene(self, name: str) -> Path | None:
        folder = None if self.scene is None else self.scene / name
        return folder if folder is not None and folder.is_dir() else None

    def prompts(self) -> dict[str, list[int]]:
        """Return the IDs that grounding chose for every prompt; empty where it did not run.

        Raises:
            InputError: If `selection.json` is damaged.
        """
        path = self.run / "grounding" / "selection.json"
        content = _json(path, "run the grounding stage again")
        try:
            chosen = {} if content is None else content["prompts"]
            return {str(name): [int(i) for i in entry["ids"]] for name, entry in chosen.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} has no IDs of prompts; run the grounding stage again") from (
                error
            )

    def tracked_views(self) -> dict[int, int]:
        """Return how many training views show every ID, by tracking; empty where it is unknown."""
        if self.scene is None:
            return {}
        content = _json(self.scene / "tracking" / "objects.json", "run the tracking stage again")
        objects = [] if content is None else content.get("objects", [])
        return {int(entry["id"]): len(entry["views"]) for entry in objects}


def find_run(folder: Path | str) -> Run:
    """Return the folders of a trained scene.

    Args:
        folder: A run, its `train/`, or an edited scene.

    Raises:
        InputError: If there is no trained scene; the message lists those below the folder.
    """
    folder = Path(folder)
    gaussians = next((f for f in (folder, folder / "train") if (f / _GAUSSIANS).is_file()), None)
    if gaussians is None:
        raise InputError(f"no trained scene in {folder}{_below(folder)}")
    origin = _json(gaussians / EDIT_FILE, "make the edit again")
    run, done = gaussians.resolve().parent, []
    if origin is not None:
        if origin.get("made_from"):
            run = (gaussians.resolve() / origin["made_from"]).resolve()
        done = origin.get("done", [])
        if not isinstance(done, list) or not all(
            isinstance(record, dict) and "operation" in record for record in done
        ):
            raise InputError(
                f"{gaussians / EDIT_FILE} does not say what was done; make the edit again"
            )
    scene = next((above for above in run.parents if (above / "colmap" / "sparse").is_dir()), None)
    return Run(gaussians, run, scene, tuple(done))


def made_from(run: Run, folder: Path) -> str:
    """Return how an edited scene in ``folder`` names the run that it was made from."""
    return os.path.relpath(run.run, folder.resolve())


def check_output(folder: Path, edited: Path) -> None:
    """Check that an edited scene can be written to ``folder``.

    Args:
        folder: Folder to write.
        edited: Folder of the scene that is edited.

    Raises:
        InputError: If it is a file, a trained scene, which no edit may change, or what is edited.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for the edited scene")
    trained = (folder / _GAUSSIANS).is_file() and not (folder / EDIT_FILE).is_file()
    if trained or (folder / "train" / _GAUSSIANS).is_file():
        raise InputError(f"{folder} holds a trained scene; name another folder for the edited one")
    if folder.resolve() == edited.resolve():
        raise InputError(f"{folder} is the scene that is edited; name another folder for the copy")


def forget_pictures(folder: Path) -> None:
    """Delete the pictures of an edit that the folder of another one held before."""
    if (folder / EDIT_FILE).is_file():
        shutil.rmtree(folder / "views", ignore_errors=True)
        (folder / "turntable.mp4").unlink(missing_ok=True)


def _below(folder: Path) -> str:
    if not folder.is_dir():
        return ": there is no such folder"
    found = sorted(folder.glob(f"seed*/train/{_GAUSSIANS}"))
    found += sorted(folder.glob(f"*/seed*/train/{_GAUSSIANS}"))
    found += sorted(folder.glob(f"*/*/seed*/train/{_GAUSSIANS}"))
    if not found:
        return "; it has results of a training when `snakemake --cores all` has run"
    return "; give one of " + ", ".join(str(path.parents[1]) for path in found)


def _json(path: Path, advice: str) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); {advice}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; {advice}")
    return content
