"""Single files of a remote archive; archives that are hostile."""

from __future__ import annotations

import errno
import io
import os
import shutil
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config.datasets import (
    DATASETS,
    FOLDERS,
    Dataset,
    dataset_path,
    folder_name,
    scenes_of,
)
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.errors import DownloadError
from gradiseg_core.models.downloads import archive as archives
from gradiseg_core.models.downloads import disk
from gradiseg_core.models.downloads.archive import checked_members, folder_of, unpack
from gradiseg_core.models.downloads.fetch import fetch_dataset
from tests.models.downloads.conftest import left_behind, no_sleep
from tests.models.downloads.scenes import FILES, WANTED, contents, scene_files
from tests.models.downloads.server import Fault, Server
from tests.models.downloads.zips import hostile, zipped

ZIP = "/360_v2.zip"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def dataset(server: Server) -> Dataset:
    return replace(DATASETS["mipnerf360", "garden"], archive=server.put(ZIP, zipped(FILES)))


def fetch(dataset: Dataset, config: DownloadsConfig, factor: int = 8) -> Path:
    target = dataset_path(Path(config.folder), dataset.source, dataset.scene, factor)
    fetch_dataset(dataset, target, factor, config, sleep=no_sleep)
    return target


def refused(dataset: Dataset, config: DownloadsConfig) -> str:
    with pytest.raises(DownloadError) as caught:
        fetch(dataset, config)
    assert left_behind(Path(config.folder)) == []
    return str(caught.value)


def body_bytes(server: Server) -> int:
    """Bytes of the archive that were asked for."""
    size = len(server.files[ZIP])
    total = 0
    for asked in server.gets(ZIP):
        assert asked is not None
        first, last = asked.removeprefix("bytes=").split("-")
        total += int(last) - int(first) + 1 if first and last else min(int(last), size)
    return total


def test_only_what_the_scene_needs_is_fetched(
    server: Server, dataset: Dataset, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradiseg_core.models.downloads.remote._DIRECTORY_BYTES", 10_000)
    target = fetch(dataset, config)
    assert target.name == "garden_images_8"
    assert contents(target) == WANTED
    assert sum(map(len, WANTED.values())) < body_bytes(server) < 0.1 * len(server.files[ZIP])
    assert left_behind(Path(config.folder)) == sorted(
        f"datasets/mipnerf360/garden_images_8/{name}" for name in WANTED
    )


def test_full_size_is_another_folder(dataset: Dataset, config: DownloadsConfig) -> None:
    target = fetch(dataset, config, factor=1)
    assert target.name == "garden_images"
    assert sorted({name.split("/")[0] for name in contents(target)}) == ["images", "sparse"]


def test_a_folder_around_everything(
    server: Server, dataset: Dataset, config: DownloadsConfig
) -> None:
    server.put(ZIP, zipped({f"360_v2/{name}": content for name, content in FILES.items()}))
    assert contents(fetch(dataset, config)) == WANTED


def test_a_changed_archive_is_noticed(
    server: Server, dataset: Dataset, config: DownloadsConfig
) -> None:
    shutil.rmtree(fetch(dataset, config))
    assert contents(fetch(dataset, config)) == WANTED  # the same again is right
    shutil.rmtree(Path(config.folder))
    server.put(ZIP, zipped({**FILES, "garden/images_8/DSC0002.JPG": b"another"}))
    assert "at its first download" in refused(dataset, config)


def test_a_cut_connection(server: Server, dataset: Dataset, config: DownloadsConfig) -> None:
    server.faults[ZIP] = Fault(cut_after=100, times=2)
    assert contents(fetch(dataset, config)) == WANTED


def test_complete_files_survive_a_connection_that_is_lost(
    server: Server,
    dataset: Dataset,
    config: DownloadsConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradiseg_core.models.downloads.remote._DIRECTORY_BYTES", 10_000)
    real, written = archives.Path.replace, []

    def replaced(path: Path, to: Path) -> Path:
        written.append(to.name)
        if len(written) == 3:
            server.faults[ZIP] = Fault(cut_after=0)
        return real(path, to)

    monkeypatch.setattr(archives.Path, "replace", replaced)
    with pytest.raises(DownloadError, match=r"after 3 attempts.*3 complete files are kept"):
        fetch(dataset, config)
    assert len(left_behind(Path(config.folder))) == 3
    assert not (Path(config.folder) / "datasets/mipnerf360/garden_images_8").exists()
    server.faults.clear()
    assert contents(fetch(dataset, config)) == WANTED
    assert len(written) == len(WANTED)  # none of them twice


def test_a_damaged_file(server: Server, dataset: Dataset, config: DownloadsConfig) -> None:
    noise = FILES["garden/images_8/DSC0001.JPG"]
    stored = zipped(FILES, zipfile.ZIP_STORED)
    server.put(ZIP, stored.replace(noise[:100], bytes(100)))
    with pytest.raises(DownloadError, match=r"a damaged part arrived.*CRC"):
        fetch(dataset, config)
    assert not any("DSC0001" in name for name in left_behind(Path(config.folder)))


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault(status=404), "does not exist"),
        (Fault(status=403), "refuses"),
        (Fault(html=True), "a web page instead of the file"),
    ],
)
def test_refusals(
    server: Server, dataset: Dataset, config: DownloadsConfig, fault: Fault, what: str
) -> None:
    server.faults[ZIP] = fault
    assert what in refused(dataset, config)
    assert len(server.gets(ZIP)) == 1


def test_something_that_is_no_archive(
    server: Server, dataset: Dataset, config: DownloadsConfig
) -> None:
    server.put(ZIP, b"x" * 1000)
    assert "is not a zip archive" in refused(dataset, config)


def test_a_server_without_ranges(server: Server, dataset: Dataset, config: DownloadsConfig) -> None:
    server.ranges = False
    assert "not served in parts" in refused(dataset, config)


def test_another_layout(server: Server, dataset: Dataset, config: DownloadsConfig) -> None:
    server.put(ZIP, zipped(scene_files("room")))
    assert "holds no folder garden/" in refused(dataset, config)
    server.put(ZIP, zipped({"garden/images_4/a.jpg": b"x", "garden/sparse/0/cameras.bin": b"x"}))
    assert "holds no garden/images_8/" in refused(dataset, config)


@pytest.mark.parametrize("what", sorted(hostile({}, "garden")))
def test_a_hostile_archive(
    server: Server, dataset: Dataset, config: DownloadsConfig, tmp_path: Path, what: str
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    server.put(ZIP, hostile(FILES, "garden/images_8")[what])
    message = refused(dataset, config)
    assert what in message
    assert "nothing of it was unpacked" in message
    assert {path.name for path in tmp_path.iterdir()} <= {*before, "downloads"}


def test_limits_of_size_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipfile.ZipFile(io.BytesIO(zipped({"a": b"12345", "b": b"67890"})))
    assert set(checked_members(archive, "x.zip")) == {"a", "b"}
    monkeypatch.setattr(archives, "MAX_BYTES", 9)
    with pytest.raises(DownloadError, match="unpack to 10 bytes"):
        checked_members(archive, "x.zip")
    monkeypatch.setattr(archives, "MAX_FILES", 1)
    with pytest.raises(DownloadError, match="holds 2 files"):
        checked_members(archive, "x.zip")


def test_a_name_listed_twice() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    with pytest.raises(DownloadError, match="listed twice"):
        checked_members(zipfile.ZipFile(buffer), "x.zip")


def test_a_file_below_a_file() -> None:
    archive = zipfile.ZipFile(io.BytesIO(zipped({"a": b"1", "a/b": b"2"})))
    with pytest.raises(DownloadError, match="'a/b' lies below a file"):
        checked_members(archive, "x.zip")


def test_only_what_is_right_is_kept(tmp_path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(zipped({"a": b"right", "b": b"right", "c": b"right"})))
    (tmp_path / "a").write_bytes(b"right")
    (tmp_path / "b").write_bytes(b"wrong")
    (tmp_path / "c").write_bytes(b"short"[:3])
    written: list[int] = []
    unpack(archive, checked_members(archive, "x"), tmp_path, "x", advance=written.append)
    assert contents(tmp_path) == {"a": b"right", "b": b"right", "c": b"right"}
    assert written == [5, 5]


def test_a_lying_size_ends_unpacking(tmp_path: Path) -> None:
    """An entry that holds more than its directory says is cut there, and its checksum fails."""
    archive = zipfile.ZipFile(io.BytesIO(zipped({"a": bytes(100_000)})))
    members = checked_members(archive, "x.zip")
    members["a"].file_size = 10
    with pytest.raises(zipfile.BadZipFile):
        unpack(archive, members, tmp_path, "x.zip")
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_disk(
    dataset: Dataset, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(map(len, WANTED.values()))
    free = Usage(10**9, 0, disk.RESERVE + needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert f"needs {needed / 1000:.1f} kB" in refused(dataset, config)


def test_a_disk_that_becomes_full(
    dataset: Dataset, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def replaced(path: Path, to: Any) -> Path:
        if Path(to).name == "DSC0002.JPG":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, to)

    monkeypatch.setattr(Path, "replace", replaced)
    assert "is full" in refused(dataset, config)


def test_the_shallowest_folder_counts() -> None:
    names = ["__MACOSX/images/a", "x/y/images/a", "x/images/a", "x/images/images/b"]
    assert folder_of(names, "images", "zip") == "x/"
    assert folder_of(["images/a"], "images", "zip") == ""


def test_the_registry_is_complete() -> None:
    assert len(scenes_of("mipnerf360")) == 9
    assert scenes_of("lerf_mask") == ["figurines", "ramen", "teatime"]
    assert scenes_of("folder") == []
    assert FOLDERS[folder_name("mipnerf360", "garden", 8)] == ("mipnerf360", "garden", 8)
    assert len(FOLDERS) == 9 * 4 + 3
    for dataset in DATASETS.values():
        assert dataset.archive.startswith("https://") != bool(dataset.repo)
