"""The page served from this machine, with what needs the machine: questions, edits, exports.

It listens on 127.0.0.1 only, and every address starts with a random token, so that no other
page and no other user of the machine gets an answer. An edit is applied by
:meth:`gradiseg_core.editing.scene.Scene.edit`, exactly as the stage applies it. The server ends
when the last page is closed, or with Ctrl+C.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.editing.scene import Scene
from gradiseg_core.errors import GradisegError, InputError
from gradiseg_core.stages.view.page import page
from gradiseg_core.stages.view.stage import Parts, parts_of

logger = logging.getLogger(__name__)

#: From a phrase to IDs and a sentence that says why.
Ask = Callable[[str], tuple[list[int], str]]

_MOST_BYTES = 1_000_000  # of a request
_BEAT = 2.0  # seconds between signs of life
#: Seconds without an open page after which the server ends; a reload takes less.
_GRACE = 12.0


class Session:
    """A scene that pages look at and change.

    Attributes:
        scene: As trained.
        shown: As edited last.
        token: First part of every address.
    """

    def __init__(
        self, scene: Scene, tracking_dir: Path, config: ViewConfig, ask: Ask, edits_file: Path
    ) -> None:
        """Start with the scene as it is.

        Args:
            scene: The run.
            tracking_dir: ID maps and pictures of objects.
            config: What pages keep.
            ask: Answers text queries.
            edits_file: Configuration that edits are saved to.
        """
        self.scene = self.shown = scene
        self.token = secrets.token_urlsafe(18)
        self._tracking_dir, self._config, self._ask = tracking_dir, config, ask
        self.edits_file = edits_file
        self._parts: Parts | None = None
        self._steps: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def page(self) -> str:
        """Return the page of the scene as it is shown."""
        with self._lock:
            if self._parts is None:
                self._parts = parts_of(self.shown, self._tracking_dir, self._config)
                self._parts.scene["server"] = {
                    "edited": len(self._steps),
                    "edits_file": str(self.edits_file),
                }
            return page(*self._parts.page, connects="'self'")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a text query: ``{text}`` to ``{ids, why}``."""
        ids, why = self._ask(str(request["text"]).strip())
        return {"ids": ids, "why": why}

    def edit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Apply the section ``edits`` that the page copied, after what was applied before."""
        steps = self._steps_of(request)
        with self._lock:
            self.shown = self.shown.edit(steps)
            self._steps += steps
            self._parts = None
            return {"gaussians": len(self.shown)}

    def select(self, request: dict[str, Any]) -> dict[str, Any]:
        """Count what is meant: ``{what}``, as in section ``edits``, to ``{gaussians}``."""
        with self._lock:
            return {"gaussians": len(self.shown.select(request["what"]))}

    def reset(self, request: dict[str, Any]) -> dict[str, Any]:
        """Show the scene as it was trained."""
        with self._lock:
            self.shown, self._steps, self._parts = self.scene, [], None
            return {"gaussians": len(self.shown)}

    def save(self, request: dict[str, Any]) -> dict[str, Any]:
        """Add what was applied, and what the page has changed since, to the file of edits."""
        steps = self._steps + (self._steps_of(request) if request.get("yaml") else [])
        if not steps:
            raise InputError("nothing has been changed yet")
        content: Any = {}
        if self.edits_file.is_file():
            content = yaml.safe_load(self.edits_file.read_text(encoding="utf-8")) or {}
        if not isinstance(content, dict) or not isinstance(content.get("edits", {}), dict):
            raise InputError(f"{self.edits_file} holds no section `edits`; move it away")
        edits = content.setdefault("edits", {})
        number = 1
        while f"from_view_{number}" in edits:
            number += 1
        edits[f"from_view_{number}"] = steps
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        self.edits_file.write_text(text, encoding="utf-8")
        return {"name": f"from_view_{number}", "file": str(self.edits_file)}

    def export(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write some objects of the scene as it is shown, exactly, to a file beside the run."""
        what = list(request["what"])
        ids = [int(entry["of"] if isinstance(entry, dict) else entry) for entry in what]
        ending = str(request.get("format", "ply"))
        if ending not in ("ply", "spz", "glb"):
            raise InputError(f"{ending!r} is not a format: give ply, spz or glb")
        name = "_".join(map(str, ids))
        out = self.scene.run.run / "exports" / f"view_{name}.{ending}"
        out.parent.mkdir(parents=True, exist_ok=True)
        # What is refined is cut out first; an export takes whole objects.
        refined = any(isinstance(entry, dict) for entry in what)
        shown = self.shown.edit([{"keep": what, "cut": False}]) if refined else self.shown
        files = shown.export(out, objects=() if refined else ids)
        return {"files": [str(file) for file in files]}

    def _steps_of(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            (steps,) = yaml.safe_load(request["yaml"])["edits"].values()
            return list(steps)
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"this is not a section `edits` with one edit: {error}") from error


class Server(ThreadingHTTPServer):
    """Serves one session on 127.0.0.1."""

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0, *, keep: bool = False) -> None:
        """Open the port.

        Args:
            session: What is served.
            port: 0 is any free one.
            keep: Whether to go on when no page is open.

        Raises:
            InputError: If the port is taken, or there is none of this number.
        """
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({error}); give another --port") from (
                error
            )
        self.session, self.keep = session, keep
        self._open, self._since = 0, time.monotonic() + 60.0  # for the browser to start
        self._guard = threading.Lock()

    @property
    def address(self) -> str:
        """What the browser opens."""
        return f"http://127.0.0.1:{self.server_port}/{self.session.token}/"

    @contextmanager
    def page_open(self) -> Iterator[None]:
        """Count a page as open."""
        with self._guard:
            self._open += 1
        try:
            yield
        finally:
            with self._guard:
                self._open -= 1
                self._since = time.monotonic()

    def service_actions(self) -> None:
        """End where the last page was closed a while ago."""
        with self._guard:
            alone = self._open == 0 and time.monotonic() > self._since + _GRACE
        if alone and not self.keep:
            logger.info("the last page was closed")
            threading.Thread(target=self.shutdown, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The page, and the sign of life that it listens to."""
        path = self._path()
        if path == "":
            self._answer(200, self.server.session.page().encode(), "text/html; charset=utf-8")
        elif path == "alive":
            self._alive()
        else:
            self._answer(404, b"not found", "text/plain")

    def do_POST(self) -> None:
        """A question, a selection, an edit, a reset, a save or an export."""
        session = self.server.session
        work = {
            "ask": session.ask,
            "select": session.select,
            "edit": session.edit,
            "reset": session.reset,
            "save": session.save,
            "export": session.export,
        }.get(self._path() or "")
        length = int(self.headers.get("Content-Length") or 0)
        if work is None or not 0 < length <= _MOST_BYTES:
            self.close_connection = True
            return self._answer(404, b"not found", "text/plain")
        try:
            request = json.loads(self.rfile.read(length))
            if not isinstance(request, dict):
                raise InputError("a request is a JSON object")
            status, answer = 200, work(request)
        except GradisegError as error:
            status, answer = 400, {"error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            status, answer = 400, {"error": f"this is not a valid request: {error!r}"}
        except Exception as error:
            logger.exception("unexpected %s", type(error).__name__)
            status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        return self._answer(status, json.dumps(answer).encode(), "application/json")

    def _path(self) -> str | None:
        """Return what is asked for below the token; None without the right token.

        The host must be this machine's own name for itself: another site's name that was pointed at
        127.0.0.1 is refused.
        """
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        _, token, *rest = [*self.path.partition("?")[0].split("/"), ""]
        known = secrets.compare_digest(token.encode(), self.server.session.token.encode())
        return "/".join(rest).strip("/") if known and host in ("127.0.0.1", "localhost") else None

    def _alive(self) -> None:
        """Write a line now and then until the page is closed."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with self.server.page_open():
            try:
                while True:
                    self.wfile.write(b": here\n\n")
                    self.wfile.flush()
                    time.sleep(_BEAT)
            except OSError:
                logger.debug("a page was closed")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal free of a line for each request."""
        logger.debug(format, *args)
