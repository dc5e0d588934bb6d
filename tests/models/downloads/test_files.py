"""One file over HTTP: what arrives whole, what is refused, and what is left after a failure."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config.checkpoints import Checkpoint
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.weights import checkpoints
from gradiseg_core.errors import DownloadError
from gradiseg_core.models.downloads import disk, http
from gradiseg_core.models.downloads.fetch import fetch_checkpoint
from tests.models.downloads.conftest import left_behind, no_sleep
from tests.models.downloads.server import Fault, Server
from tests.workflow.conftest import REPOSITORY

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def url(server: Server) -> str:
    return server.put("/model.pth", CONTENT)


def checkpoint(url: str, sha256: str | None = SHA256, **more: Any) -> Checkpoint:
    return Checkpoint("toy", "A toy", "none", len(CONTENT), url=url, sha256=sha256, **more)


def target_of(config: DownloadsConfig) -> Path:
    return checkpoint("").path(Path(config.folder))


def fetch(entry: Checkpoint, config: DownloadsConfig) -> Path:
    fetch_checkpoint(entry, target_of(config), config, sleep=no_sleep)
    return target_of(config)


def refused(entry: Checkpoint, config: DownloadsConfig, *left: str) -> str:
    """The message of the error; checks that no more than `left` stays."""
    with pytest.raises(DownloadError) as caught:
        fetch(entry, config)
    assert left_behind(Path(config.folder)) == sorted(left)
    return str(caught.value)


def test_a_file_arrives_and_is_recorded(
    server: Server, url: str, config: DownloadsConfig, tmp_path: Path
) -> None:
    target = fetch(checkpoint(url), config)
    assert target.read_bytes() == CONTENT
    assert left_behind(target.parent) == ["toy.pth"]
    assert json.loads((tmp_path / "lock.json").read_text()) == {
        "toy": {"source": url, "revision": "", "sha256": SHA256, "bytes": len(CONTENT)}
    }
    fetch(checkpoint(url), config)
    assert len(server.gets("/model.pth")) == 1  # the second call found it


def test_a_cut_connection_is_continued(server: Server, url: str, config: DownloadsConfig) -> None:
    server.faults["/model.pth"] = Fault(cut_after=1_200_000, times=1)
    assert fetch(checkpoint(url), config).read_bytes() == CONTENT
    first, second = server.gets("/model.pth")
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 1_200_000


def test_attempts_that_bring_something_do_not_count(
    server: Server, url: str, config: DownloadsConfig
) -> None:
    server.faults["/model.pth"] = Fault(cut_after=1 << 20, times=2)
    once = config.model_copy(update={"retries": 1})
    assert fetch(checkpoint(url), once).read_bytes() == CONTENT
    assert len(server.gets("/model.pth")) == 3


def test_a_connection_that_stays_cut(server: Server, url: str, config: DownloadsConfig) -> None:
    server.faults["/model.pth"] = Fault(cut_after=0)
    message = refused(
        checkpoint(url), config, "checkpoints/.toy.pth.partial", "checkpoints/.toy.pth.partial.json"
    )
    assert "the connection was cut, after 3 attempts" in message
    assert len(server.gets("/model.pth")) == 3
    server.faults.clear()
    assert fetch(checkpoint(url), config).read_bytes() == CONTENT
    assert left_behind(Path(config.folder)) == ["checkpoints/toy.pth"]


def test_a_later_run_continues(server: Server, url: str, config: DownloadsConfig) -> None:
    never = config.model_copy(update={"retries": 0})
    server.faults["/model.pth"] = Fault(cut_after=2_500_000, times=1)
    with pytest.raises(DownloadError, match=r"2\.\d MB are kept"):
        fetch(checkpoint(url), never)
    assert fetch(checkpoint(url), never).read_bytes() == CONTENT
    assert server.gets("/model.pth")[1] is not None


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    server: Server, url: str, config: DownloadsConfig
) -> None:
    server.faults["/model.pth"] = Fault(cut_after=2_000_000, times=1)
    with pytest.raises(DownloadError):
        fetch(checkpoint(url), config.model_copy(update={"retries": 0}))
    other = CONTENT[::-1]
    server.put("/model.pth", other)
    assert fetch(checkpoint(url, sha256=None), config).read_bytes() == other


@pytest.mark.parametrize("missing", ["ranges", "etags"])
def test_a_server_that_cannot_continue(
    server: Server, url: str, config: DownloadsConfig, missing: str
) -> None:
    setattr(server, missing, False)
    server.faults["/model.pth"] = Fault(cut_after=2_000_000, times=1)
    assert fetch(checkpoint(url), config).read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_server_has(
    server: Server, url: str, config: DownloadsConfig
) -> None:
    partial = target_of(config).with_name(".toy.pth.partial")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(len(CONTENT) + 1))
    etag = f'"{SHA256[:40]}"'
    http.mark_file(partial).write_text(json.dumps({"mark": etag}))
    assert fetch(checkpoint(url), config).read_bytes() == CONTENT
    assert len(server.gets("/model.pth")) == 2


def test_a_wrong_hash(url: str, config: DownloadsConfig, tmp_path: Path) -> None:
    message = refused(checkpoint(url, sha256="0" * 64), config)
    assert SHA256 in message
    assert "0" * 64 in message
    assert not (tmp_path / "lock.json").exists()


def test_a_published_prefix_of_the_hash(url: str, config: DownloadsConfig) -> None:
    wrong = "0" * 8 if not SHA256.startswith("0" * 8) else "1" * 8
    assert wrong in refused(checkpoint(url, None, sha256_prefix=wrong), config)
    assert fetch(checkpoint(url, None, sha256_prefix=SHA256[:8]), config).is_file()


def test_without_a_published_hash_the_first_one_counts(
    server: Server, url: str, config: DownloadsConfig
) -> None:
    target = fetch(checkpoint(url, sha256=None), config)
    target.unlink()
    assert fetch(checkpoint(url, sha256=None), config).read_bytes() == CONTENT
    target.unlink()
    server.put("/model.pth", b"something else")
    message = refused(checkpoint(url, sha256=None), config)
    assert "remove the entry 'toy'" in message


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
def test_a_web_page_is_no_checkpoint(
    server: Server, url: str, config: DownloadsConfig, content_type: str
) -> None:
    if content_type == "text/html":
        server.faults["/model.pth"] = Fault(html=True)
    else:
        server.put("/model.pth", b"\n  <!DOCTYPE html>\n<html>" + bytes(1000))
    assert "a web page instead of the file" in refused(checkpoint(url), config)
    assert len(server.gets("/model.pth")) == 1  # it would be the same again


@pytest.mark.parametrize(("status", "what"), [(404, "does not exist"), (403, "refuses")])
def test_a_refusal_is_final(
    server: Server, url: str, config: DownloadsConfig, status: int, what: str
) -> None:
    server.faults["/model.pth"] = Fault(status=status)
    message = refused(checkpoint(url), config)
    assert what in message
    assert url in message
    assert len(server.gets("/model.pth")) == 1


def test_a_busy_server_is_asked_again(server: Server, url: str, config: DownloadsConfig) -> None:
    server.faults["/model.pth"] = Fault(status=503, times=2)
    assert fetch(checkpoint(url), config).read_bytes() == CONTENT
    server.faults["/model.pth"] = Fault(status=503)
    target_of(config).unlink()
    assert "503" in refused(checkpoint(url), config)


def test_a_server_that_does_not_answer(server: Server, url: str, config: DownloadsConfig) -> None:
    server.faults["/model.pth"] = Fault(stall_s=0.4)
    impatient = config.model_copy(update={"retries": 1, "timeout_s": 0.1})
    assert "did not answer in time" in refused(checkpoint(url), impatient)


def test_no_server(config: DownloadsConfig) -> None:
    message = refused(checkpoint("http://127.0.0.1:9/model.pth"), config)
    assert "no connection to the server" in message


def test_the_pauses_grow() -> None:
    waited: list[float] = []
    for attempt in range(1, 12):
        http.pause(attempt, waited.append)
    assert all(0.75 * 2**k <= waited[k] <= 2**k for k in range(5))
    assert max(waited) <= 60


def test_too_small_a_disk(
    server: Server, url: str, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, disk.RESERVE + 2_999_999))
    message = refused(checkpoint(url), config)
    assert "needs 3.0 MB" in message
    assert "downloads.folder" in message
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, disk.RESERVE + 3_000_000))
    assert fetch(checkpoint(url), config).is_file()


def test_a_disk_that_becomes_full(
    url: str, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *args: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            if self.file.tell() > 1_000_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

    def opened(path: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        file = real(path, mode, *args, **more)
        return Full(file) if mode == "wb" and path.name.endswith(".partial") else file

    monkeypatch.setattr(Path, "open", opened)
    message = refused(checkpoint(url), config)
    assert "is full" in message
    assert "downloads.folder" in message


def test_offline(server: Server, url: str, config: DownloadsConfig) -> None:
    offline = config.model_copy(update={"offline": True})
    message = refused(checkpoint(url), offline)
    assert str(target_of(config)) in message
    assert url in message
    assert not server.requests
    target_of(config).write_bytes(b"given by hand")
    assert fetch(checkpoint(url), offline).read_bytes() == b"given by hand"


def test_two_at_once_fetch_once(server: Server, url: str, config: DownloadsConfig) -> None:
    server.faults["/model.pth"] = Fault(stall_s=0.2)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fetch(checkpoint(url), config)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(server.gets("/model.pth")) == 1
    assert target_of(config).read_bytes() == CONTENT


def test_a_damaged_lock_file(url: str, config: DownloadsConfig, tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{")
    assert "is not a lock file" in refused(checkpoint(url), config)
    (tmp_path / "lock.json").write_text('{"toy": {"a": 1}}')
    assert "other keys" in refused(checkpoint(url), config)


def test_the_registry_is_complete() -> None:
    for name, entry in checkpoints().items():
        assert entry.name == name
        assert entry.licence
        if entry.kind == "file":
            assert entry.url.startswith("https://")
            assert not entry.repo
        else:
            assert len(entry.revision) == 40
            assert "model.safetensors" in entry.patterns
            assert not any(p.endswith((".bin", ".pth", ".pkl")) for p in entry.patterns)
        if entry.sha256:
            assert len(bytes.fromhex(entry.sha256)) == 32
    # torchvision's names carry the first digits of the hash
    lpips = checkpoints()["lpips_vgg"]
    assert lpips.url.endswith(f"-{lpips.sha256_prefix}.pth")


def test_every_checkpoint_is_documented() -> None:
    page = (REPOSITORY / "docs" / "downloads.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    for name, entry in checkpoints().items():
        host, *path = entry.url.removeprefix("https://").split("/")
        of_url = "/".join(path[:2]) if host == "github.com" else host
        source = entry.repo.rpartition("-")[0] or of_url  # sizes of one model share a row
        row = next((line for line in rows if source in line), "")
        assert row, name
        if entry.size:
            assert f"{entry.size / 1e9:.1f}" in row, name
        assert ("lock file" in row) == (entry.sha256 is None), name
