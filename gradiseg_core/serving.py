"""The command `gradiseg view`: the view stage's server, with grounding's answers to questions."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.view import ViewConfig
from gradiseg_core.config.weights import checkpoints
from gradiseg_core.editing.scene import load
from gradiseg_core.errors import InputError
from gradiseg_core.stages.grounding.query import ask, text_backend
from gradiseg_core.stages.view.server import Server, Session


def serve(
    folder: Path, *, port: int = 0, opens: bool = True, keep: bool = False, edits_file: Path
) -> None:
    """Serve the page of a run until it is closed.

    Args:
        folder: ``<results>/<scene>/<variant>/seed<n>``, or an edited scene.
        port: 0 is any free one.
        opens: Whether to open the browser.
        keep: Whether to go on when no page is open.
        edits_file: Configuration that edits are saved to.

    Raises:
        InputError: If there is no trained scene, or the port is taken.
    """
    scene = load(folder, device="cpu")
    scene_dir = scene.run.scene
    if scene_dir is None:
        raise InputError(f"{folder} has no cameras beside it; a run lies in results/<scene>")
    config = GroundingConfig(backend=text_backend(scene.run.run))

    def answer(text: str) -> tuple[list[int], str]:
        choice = ask(text, scene_dir, scene.run.run, config, _weights(config))
        return choice.ids, choice.why

    session = Session(scene, scene_dir / "tracking", ViewConfig(), answer, edits_file)
    with Server(session, port, keep=keep) as server:
        ends = "Ctrl+C ends it" + ("" if keep else ", as does closing the page")
        print(f"{server.address}\n{ends}", flush=True)
        if opens:
            webbrowser.open(server.address)
        server.serve_forever()


def _weights(config: GroundingConfig) -> dict[str, Path]:
    """Return the backend's checkpoints: the user's own, or those that the workflow fetched.

    Raises:
        InputError: If one was not fetched yet.
    """
    found = {}
    for name, own in config.weights().items():
        path = own or checkpoints()[name].path(Path(DownloadsConfig().folder))
        if not path.exists():
            raise InputError(
                f"{config.backend} needs {path}, which the grounding stage fetches; run it once"
            )
        found[name] = path
    return found
