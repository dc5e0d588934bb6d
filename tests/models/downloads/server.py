"""A web server on this machine that serves files, and fails in every way that servers do."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """How the server fails, for the next ``times`` requests of a path (GET only)."""

    status: int | None = None  # answer this instead of the file
    cut_after: int | None = None  # close the connection after so many bytes of the body
    html: bool = False  # a web page with status 200
    stall_s: float = 0.0  # wait before the body
    times: int = 1_000_000


@dataclass
class Server:
    """Files by path, faults by path, and the requests that came."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, range
    answers: dict[str, Callable[[], Any]] = field(default_factory=dict)  # JSON, by path
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def put(self, path: str, content: bytes) -> str:
        """Serve ``content`` and return its address."""
        self.files[path] = content
        return self.address + path

    def gets(self, path: str) -> list[str | None]:
        """Return the ranges that were asked for, request by request."""
        return [range_ for method, at, range_ in self.requests if (method, at) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        state, asked = self.state, self.headers.get("Range")
        state.requests.append((self.command, path, asked))
        fault = state.faults.get(path) if body else None
        if fault is not None:
            fault.times -= 1
            if fault.times == 0:
                del state.faults[path]
            if fault.stall_s:
                time.sleep(fault.stall_s)
            if fault.status is not None:
                return self._answer(fault.status, b"failed")
            if fault.html:
                page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
                return self._answer(200, page, {"Content-Type": "text/html; charset=utf-8"})
        if path in state.answers:
            content = json.dumps(state.answers[path]()).encode()
            return self._answer(200, content, {"Content-Type": "application/json"})
        if path not in state.files:
            return self._answer(404, b"not found", state.headers.get(path, {}))
        content = state.files[path]
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        etag = f'"{hashlib.sha256(content).hexdigest()[:40]}"'
        if state.etags:
            headers["ETag"] = etag
        headers |= state.headers.get(path, {})
        status, start, end = 200, 0, len(content)
        if asked and state.ranges and self.headers.get("If-Range", etag) == etag:
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, len(content) - int(last))
            end = min(int(last) + 1, len(content)) if first and last else len(content)
            if start >= len(content):
                return self._answer(416, b"")
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        part = content[start:end]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(part))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and fault is not None and fault.cut_after is not None:
            self.wfile.write(part[: fault.cut_after])
            self.close_connection = True
        elif body:
            self.wfile.write(part)
        return None

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, as it does after a refusal, is no error here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server on a free port of this machine."""
    state = Server()
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Quiet(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
