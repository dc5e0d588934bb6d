"""The command `gradiseg view`: the view stage's server, with grounding's answers to questions."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core.config.backends import chosen
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import load as read_settings
from gradiseg_core.config.view import ViewConfig
from gradiseg_core.config.weights import checkpoints
from gradiseg_core.editing.scene import load
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.planning.place import Place
from gradiseg_core.stages.grounding.query import ask, reads_text, text_backend
from gradiseg_core.stages.view.server import Server, Session

_PAGE = "view.html"


@dataclass(frozen=True)
class Wishes:
    """What a configuration says that concerns the page.

    Attributes:
        grounding: Answers text queries.
        view: What pages keep.
        downloads: Folder of checkpoints.
        folder: Start of the grounding's own paths.
    """

    grounding: GroundingConfig
    view: ViewConfig
    downloads: Path
    folder: Path = Path()


def serve(
    folder: Path,
    *,
    port: int = 0,
    opens: bool = True,
    keep: bool = False,
    edits_file: Path,
    configfiles: Sequence[Path] = (),
) -> None:
    """Serve the page of a run until it is closed.

    Args:
        folder: ``<results>/<scene>/<variant>/seed<n>``, or an edited scene.
        port: 0 is any free one.
        opens: Whether to open the browser.
        keep: Whether to go on when no page is open.
        edits_file: Configuration that edits are saved to.
        configfiles: As for ``snakemake --configfile``; what they say of questions and pages holds.

    Raises:
        InputError: If there is no trained scene, the port is taken, or edits cannot be saved.
        ConfigError: If the configuration is not valid, or does not have the scene.
    """
    _check_writable(edits_file)
    scene = load(folder, device="cpu")
    scene_dir = scene.run.scene
    if scene_dir is None:
        raise InputError(_without_cameras(folder, scene.run.run))
    wishes = wishes_of(scene_dir.name, scene.run.run, configfiles)

    def answer(text: str) -> tuple[list[int], str]:
        choice = ask(text, scene_dir, scene.run.run, wishes.grounding, _weights(wishes))
        return choice.ids, choice.why

    session = Session(scene, scene_dir / "tracking", wishes.view, answer, edits_file)
    with Server(session, port, keep=keep) as server:
        ends = "Ctrl+C ends it" + ("" if keep else ", as does closing the page")
        print(f"{server.address}\n{ends}", flush=True)
        if opens:
            webbrowser.open(server.address)
        server.serve_forever()


def _check_writable(edits_file: Path) -> None:
    """Refuse a file that Save could not write, before anything is edited.

    Raises:
        InputError: If its folder is not there, or it cannot be written.
    """
    folder = edits_file.parent
    if not folder.is_dir():
        raise InputError(
            f"--edits {edits_file}: there is no folder {folder} to save edits in; make it, or give "
            "another file"
        )
    if edits_file.is_dir() or not os.access(edits_file if edits_file.exists() else folder, os.W_OK):
        raise InputError(
            f"--edits {edits_file} cannot be written to, so that no edit could be saved; give "
            "another file"
        )


def _without_cameras(folder: Path, run_dir: Path) -> str:
    """Return what to do with a run that was copied without its scene, or whose cameras are gone."""
    page = run_dir / _PAGE
    opened = f"Open {page} in any browser, which needs nothing else" if page.is_file() else ""
    results = run_dir.parent.parent
    if (results / "logs").is_dir():  # in its place: Snakemake removes what is made again
        return (
            f"{folder} lacks the cameras of its scene: {results / 'colmap'} is not there. They are "
            "being made again, or a run that did so was stopped or failed: let it finish, or go on "
            "with it (`gradiseg status` says how)." + (f" {opened}." if opened else "")
        )
    return (
        f"{folder} lacks the cameras and photographs of its scene, as it was copied without them. "
        + (f"{opened}. To ask for objects and to save edits, copy" if opened else "Copy")
        + " all of results/<scene>, and give the run in it: <scene>/<variant>/seed<n>"
    )


def wishes_of(scene: str, run_dir: Path, configfiles: Sequence[Path]) -> Wishes:
    """Return what holds for the page of a run.

    Args:
        scene: Name of the scene.
        run_dir: ``<results>/<scene>/<variant>/seed<n>``.
        configfiles: Without any, the backend is the run's, with its default options. Relative paths
            start in the folder of the first.

    Raises:
        ConfigError: If a file cannot be read or is not valid, or no scene is called so.
    """
    if not configfiles:
        grounding = GroundingConfig(backend=text_backend(run_dir))
        return Wishes(grounding, ViewConfig(), Path(DownloadsConfig().folder))
    folder = Path(os.path.relpath(Place.where_ran(configfiles[0]).folder))
    settings = read_settings(read_files(configfiles), folder)
    if scene not in settings.scenes:
        names = ", ".join(settings.scenes)
        raise ConfigError(f"no scene is called '{scene}'; the configuration has {names}")
    own = settings.section(scene, "grounding")
    assert isinstance(own, GroundingConfig)
    if not reads_text(own.backend):
        section = settings.root.grounding
        own = chosen(GroundingConfig, section.model_copy(update={"backend": text_backend(run_dir)}))
    return Wishes(own, settings.root.view, folder / settings.root.downloads.folder, folder)


def _weights(wishes: Wishes) -> dict[str, Path]:
    """Return the backend's checkpoints: the user's own, or those that the workflow fetched.

    Raises:
        InputError: If one was not fetched yet.
    """
    found = {}
    for name, own in wishes.grounding.weights().items():
        path = checkpoints()[name].path(wishes.downloads) if own is None else wishes.folder / own
        if not path.exists():
            raise InputError(
                f"{wishes.grounding.backend} needs {path}, which the grounding stage fetches; run "
                "it once"
            )
        found[name] = path
    return found
