"""`gradiseg view`: who gets an answer, what it answers, and that it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from plyfile import PlyData

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.editing.scene import load
from gradiseg_core.errors import InputError
from gradiseg_core.stages.view import server as module
from gradiseg_core.stages.view.server import Server, Session
from tests.stages.view.browser import psnr
from tests.stages.view.conftest import BLUE, GREEN, RED, SIZE, Made, opened

REMOVE = "edits:\n  from_view:\n    - {remove: 3, fill: false}\n"


@dataclass
class Served:
    server: Server
    session: Session
    thread: threading.Thread

    def get(self, path: str, host: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        headers = {} if host is None else {"Host": host}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def post(self, work: str, content: Any, token: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        body = content if isinstance(content, str) else json.dumps(content)
        connection.request("POST", f"/{token or self.session.token}/{work}", body)
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if answer.status != 404 else text


def answers(text: str) -> tuple[list[int], str]:
    if text == "boom":
        raise InputError("no such word")
    return ([GREEN], "it is green") if "green" in text else ([], "no colour word")


@pytest.fixture
def served(made: Made, tmp_path: Path) -> Iterator[Served]:
    scene = load(made.run, device="cpu")
    session = Session(scene, made.folders.tracking, ViewConfig(), answers, tmp_path / "edits.yaml")
    server = Server(session)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Served(server, session, thread)
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_it_listens_to_this_machine_alone(served: Served) -> None:
    assert served.server.server_address[0] == "127.0.0.1"
    assert len(served.session.token) >= 24


def test_without_the_token_nothing_is_answered(served: Served) -> None:
    assert served.get("/")[0] == 404
    assert served.get(f"/{served.session.token[:-1]}/")[0] == 404
    assert served.get(f"/x{served.session.token}/")[0] == 404
    assert served.post("reset", {"all": True}, token="guess")[0] == 404
    status, text = served.get(f"/{served.session.token}/")
    assert status == 200
    assert "connect-src 'self'" in text


def test_another_site_s_name_for_this_machine_is_refused(served: Served) -> None:
    path = f"/{served.session.token}/"
    assert served.get(path, host=f"evil.example:{served.server.server_port}")[0] == 404
    assert served.get(path, host=f"localhost:{served.server.server_port}")[0] == 200


def test_questions_are_answered(served: Served) -> None:
    assert served.post("ask", {"text": " green ball "}) == (
        200,
        {"ids": [GREEN], "why": "it is green"},
    )
    assert served.post("ask", {"text": "boom"}) == (400, {"error": "no such word"})
    status, answer = served.post("ask", {"words": 1})
    assert status == 400
    assert "not a valid request" in answer["error"]
    assert served.post("ask", "{")[0] == 400
    assert served.post("ask", "[]")[0] == 400
    assert served.post("nothing", {})[0] == 404


def test_an_edit_is_the_core_s_own_and_can_be_taken_back(served: Served, made: Made) -> None:
    expected = made.scene.edit([{"remove": RED, "fill": False}])
    assert served.post("edit", {"yaml": REMOVE}) == (200, {"gaussians": len(expected)})
    for name in ("means", "sh0", "opacities"):
        shown, wanted = (getattr(s.trained, name) for s in (served.session.shown, expected))
        assert torch.equal(shown, wanted)
    assert served.post("reset", {"all": True}) == (200, {"gaussians": 750})
    status, answer = served.post("edit", {"yaml": "edits: {a: [{remove: teapot}]}"})
    assert status == 400
    assert "no object is called 'teapot'" in answer["error"]
    assert served.post("edit", {"yaml": "edits: nothing"})[0] == 400


def test_edits_are_saved_to_a_configuration(served: Served) -> None:
    assert served.post("save", {"yaml": ""})[0] == 400  # nothing to save
    served.post("edit", {"yaml": REMOVE})
    recolour = 'edits:\n  from_view:\n    - {recolour: 1, colour: "#ff0000"}\n'
    assert served.post("save", {"yaml": recolour})[1]["name"] == "from_view_1"
    assert served.post("save", {"yaml": ""})[1]["name"] == "from_view_2"
    content = yaml.safe_load(served.session.edits_file.read_text())
    removed = {"remove": 3, "fill": False}
    assert content["edits"]["from_view_1"] == [removed, {"recolour": 1, "colour": "#ff0000"}]
    assert content["edits"]["from_view_2"] == [removed]


def test_a_foreign_file_of_edits_is_not_overwritten(served: Served) -> None:
    served.session.edits_file.write_text("- a list\n")
    status, answer = served.post("save", {"yaml": REMOVE})
    assert status == 400
    assert "no section `edits`" in answer["error"]
    assert served.session.edits_file.read_text() == "- a list\n"


def test_a_selection_is_exported_exactly(served: Served, made: Made) -> None:
    status, answer = served.post("export", {"what": [BLUE]})
    assert status == 200
    (file,) = answer["files"]
    own = torch.from_numpy(made.scene.ids == BLUE)
    vertices = PlyData.read(file)["vertex"]
    means = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    assert np.array_equal(means, made.scene.trained.means[own].numpy())
    assert served.post("export", {"what": [BLUE], "format": "../x"})[0] == 400


def test_a_refined_selection_is_counted_and_exported(served: Served, made: Made) -> None:
    what = {"of": BLUE, "shrink": 0.2}
    expected = made.scene.select(what)
    assert 0 < len(expected) < np.sum(made.scene.ids == BLUE)
    assert served.post("select", {"what": what}) == (200, {"gaussians": len(expected)})
    status, answer = served.post("select", {"what": {"of": BLUE, "shrnk": 1}})
    assert status == 400
    assert "did you mean 'shrink'" in answer["error"]
    (file,) = served.post("export", {"what": [what]})[1]["files"]
    assert PlyData.read(file)["vertex"].count == len(expected)


def test_it_ends_when_the_last_page_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.3)
    monkeypatch.setattr(module, "_BEAT", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", served.server.server_port, timeout=10)
    connection.request("GET", f"/{served.session.token}/alive")
    answer = connection.getresponse()
    assert answer.fp.readline().startswith(b":")
    served.thread.join(1.0)
    assert served.thread.is_alive()
    answer.close()
    connection.close()
    served.thread.join(10)
    assert not served.thread.is_alive()


def test_a_taken_port_is_named(served: Served) -> None:
    with pytest.raises(InputError, match="--port"):
        Server(served.session, served.server.server_port)


@pytest.mark.parametrize("port", [-1, 80080])
def test_a_port_out_of_range_is_named(port: int) -> None:
    with pytest.raises(InputError, match=rf"port {port} cannot be used \(.*0-65535.*--port"):
        Server(None, port)  # type: ignore[arg-type]  # which is not reached


def test_the_command_serves_answers_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    """Colour words, as the run has no backend that reads text; Ctrl+C ends it."""
    command = [sys.executable, "-m", "gradiseg_core", "view", str(made.run), "--no-browser"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl+C is ignored by what a shell started in the background, as these tests may be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        _, _, place, token, _ = address.split("/")
        assert place.startswith("127.0.0.1:")
        connection = http.client.HTTPConnection(place, timeout=60)
        connection.request("GET", f"/{token}/")
        assert connection.getresponse().read().startswith(b"<!doctype html>")
        connection.request("POST", f"/{token}/ask", json.dumps({"text": ""}))
        assert b"write what you look for" in connection.getresponse().read()
        connection.close()
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    refused = http.client.HTTPConnection(place, timeout=5)
    with pytest.raises(ConnectionRefusedError):
        refused.request("GET", "/")


@pytest.mark.browser
def test_the_page_asks_applies_saves_and_exports(browser: Any, served: Served, made: Made) -> None:
    viewer = opened(browser)
    viewer.page.context.set_offline(False)
    page = viewer.page
    page.goto(served.server.address)
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    page.fill("#search", "something green")
    page.press("#search", "Enter")
    page.wait_for_selector(f"#objects li.selected[data-id='{GREEN}']")
    page.fill("#search", "whatever")
    page.press("#search", "Enter")
    page.wait_for_selector("#toast:has-text('no colour word')")
    page.fill("#search", "")

    page.click(f"#objects li[data-id='{RED}']")
    page.click("#export")
    page.wait_for_selector("#toast:has-text('Written')")
    page.click("#refine summary")
    page.fill("#refine label:has-text('Larger') input", "0.05")
    page.locator("#refine label:has-text('Larger') input").blur()
    grown = len(made.scene.select({"of": RED, "grow": 0.05}))
    page.wait_for_selector(f"#refined:has-text('{grown} Gaussians instead of')")
    page.wait_for_url(lambda address: f"refine={RED}:grow:0.05" in address)
    page.reload()  # the address brings it back
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    assert page.input_value("#refine label:has-text('Larger') input") == "0.05"
    page.click("#card >> text=Hide")
    page.click("#save-edits")
    page.wait_for_selector("#toast:has-text('from_view_1')")
    page.click("#apply-edits")
    page.wait_for_selector(f"#objects li[data-id='{RED}']", state="detached", timeout=60_000)
    page.wait_for_selector("html[data-state=ready] #reset-edits", timeout=60_000)
    edited = served.session.shown
    assert RED not in edited.ids
    (done,) = edited.history
    assert done["operation"] == {"remove": {"of": "red <b>ball</b>", "grow": 0.05}}
    assert done["selected"] == grown
    drawn = viewer.picture(2, *SIZE)
    assert psnr(drawn, edited.render(made.cameras[2]).color) > 40
    page.click("#reset-edits")
    page.wait_for_selector(f"#objects li[data-id='{RED}']", timeout=60_000)
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    assert psnr(viewer.picture(2, *SIZE), made.scene.render(made.cameras[2]).color) > 40
    assert {address.split("/")[2] for address in viewer.requests} == {
        f"127.0.0.1:{served.server.server_port}"
    }
    assert viewer.problems == []
    page.context.close()
