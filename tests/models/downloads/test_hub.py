"""The hub's real client against a server on this machine that answers like the hub."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config.checkpoints import Checkpoint
from gradiseg_core.config.datasets import DATASETS, Dataset, dataset_path
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.errors import DownloadError
from gradiseg_core.models.downloads import disk
from gradiseg_core.models.downloads.fetch import fetch_checkpoint, fetch_dataset
from tests.models.downloads.conftest import left_behind, no_sleep
from tests.models.downloads.hub import COMMIT, DINO, SWINT, publish
from tests.models.downloads.server import Fault, Server
from tests.models.downloads.zips import hostile, zipped

pytest.importorskip("huggingface_hub", reason="pip install -e '.[models]'")

LERF = "mqye/Gaussian-Grouping"
Usage = namedtuple("Usage", "total used free")


MODEL = os.urandom(400_000)
DINO_FILES = {
    "config.json": b'{"model_type": "grounding-dino"}',
    "model.safetensors": MODEL,
    "preprocessor_config.json": b"{}",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "vocab.txt": b"[PAD]",
    "special_tokens_map.json": b"{}",
    "pytorch_model.bin": os.urandom(400_000),
    "README.md": b"# model",
}
NEEDED = sorted(set(DINO_FILES) - {"pytorch_model.bin", "README.md"})
WEIGHTS = f"/{DINO}/resolve/{COMMIT}/model.safetensors"


@pytest.fixture(autouse=True)
def impatient_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again by itself, with pauses that sum up to half a minute."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", no_sleep)


@pytest.fixture
def hub(server: Server) -> Server:
    publish(server, DINO, DINO_FILES)
    return server


def fetch(hub: Server, config: DownloadsConfig, entry: Checkpoint = SWINT) -> Path:
    target = entry.path(Path(config.folder))
    fetch_checkpoint(entry, target, config, endpoint=hub.address, sleep=no_sleep)
    return target


def refused(hub: Server, config: DownloadsConfig, **change: Any) -> str:
    with pytest.raises(DownloadError) as caught:
        fetch(hub, config, replace(SWINT, **change))
    assert left_behind(Path(config.folder)) == []
    return str(caught.value)


def test_a_model_without_its_pickle(hub: Server, config: DownloadsConfig, tmp_path: Path) -> None:
    target = fetch(hub, config)
    assert left_behind(target) == NEEDED
    assert (target / "model.safetensors").read_bytes() == MODEL
    assert left_behind(target.parent) == [f"groundingdino_swint/{name}" for name in NEEDED]
    locked = json.loads((tmp_path / "lock.json").read_text())["groundingdino_swint"]
    assert (locked["source"], locked["revision"]) == (DINO, COMMIT)
    assert locked["bytes"] == sum(len(DINO_FILES[name]) for name in NEEDED)
    count = len(hub.requests)
    fetch(hub, config)
    assert len(hub.requests) == count


def test_a_pickle_is_not_even_asked_for(hub: Server, config: DownloadsConfig) -> None:
    patterns = (*SWINT.patterns, "*.bin")
    assert "pytorch_model.bin is a pickle" in refused(hub, config, patterns=patterns)
    assert not any("pytorch_model.bin" in path for _, path, _ in hub.requests)


def test_a_cut_connection(hub: Server, config: DownloadsConfig) -> None:
    hub.faults[WEIGHTS] = Fault(cut_after=100_000, times=1)
    assert (fetch(hub, config) / "model.safetensors").read_bytes() == MODEL


def test_another_content_than_the_hub_says(hub: Server, config: DownloadsConfig) -> None:
    hub.files[WEIGHTS] = MODEL[::-1]
    assert "another hash than the hub publishes" in refused(hub, config)


def test_another_small_file_than_the_hub_says(hub: Server, config: DownloadsConfig) -> None:
    path = f"/{DINO}/resolve/{COMMIT}/vocab.txt"
    hub.files[path] = b"[BAD]"
    assert "vocab.txt arrived with another hash" in refused(hub, config)


def test_another_tree_than_recorded(hub: Server, config: DownloadsConfig, tmp_path: Path) -> None:
    shutil.rmtree(fetch(hub, config))
    publish(hub, DINO, {**DINO_FILES, "vocab.txt": b"[BAD]"})
    assert "at its first download" in refused(hub, config)


def test_a_web_page_in_place_of_the_api(hub: Server, config: DownloadsConfig) -> None:
    hub.faults[f"/api/models/{DINO}/tree/{COMMIT}"] = Fault(html=True)
    assert "the answer is not the hub's" in refused(hub, config)


def test_a_web_page_in_place_of_the_weights(hub: Server, config: DownloadsConfig) -> None:
    hub.faults[WEIGHTS] = Fault(html=True)
    with pytest.raises(DownloadError, match=r"model\.safetensors"):
        fetch(hub, config)
    assert not SWINT.path(Path(config.folder)).exists()


def test_a_repository_that_is_gone(server: Server, config: DownloadsConfig) -> None:
    server.headers[f"/api/models/{DINO}/tree/{COMMIT}"] = {"X-Error-Code": "RepoNotFound"}
    assert "does not exist: it was moved or removed" in refused(server, config)


def test_a_repository_without_weights(hub: Server, config: DownloadsConfig) -> None:
    publish(hub, DINO, {"config.json": b"{}"})
    assert "lacks model.safetensors" in refused(hub, config)


def test_a_path_that_leads_out(hub: Server, config: DownloadsConfig) -> None:
    publish(hub, DINO, {**DINO_FILES, "../vocab.txt": b"x"})
    assert "'../vocab.txt'" in refused(hub, config)


def test_a_hub_that_is_down(hub: Server, config: DownloadsConfig) -> None:
    hub.faults[f"/api/models/{DINO}/tree/{COMMIT}"] = Fault(status=503)
    assert "the hub answered 503, after 3 attempts" in refused(hub, config)


def test_no_hub(server: Server, config: DownloadsConfig) -> None:
    entry = SWINT
    with pytest.raises(DownloadError, match="no connection to the hub"):
        fetch_checkpoint(
            entry,
            entry.path(Path(config.folder)),
            config,
            endpoint="http://127.0.0.1:9",
            sleep=no_sleep,
        )


def test_too_small_a_disk(
    hub: Server, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, disk.RESERVE + 400_000))
    assert "needs 400.0 kB" in refused(hub, config)


def test_a_disk_that_becomes_full(
    hub: Server, config: DownloadsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    real = huggingface_hub.hf_hub_download

    def full(repo: str, name: str, **options: Any) -> str:
        if name == "model.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(repo, name, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    assert "is full" in refused(hub, config)


def test_offline(hub: Server, config: DownloadsConfig) -> None:
    message = refused(hub, config.model_copy(update={"offline": True}))
    assert f"https://huggingface.co/{DINO}/tree/{COMMIT}" in message
    assert not hub.requests


SCENE = {
    **{f"images/frame_{k}.jpg": os.urandom(11_000) for k in range(4)},
    **{f"images_train/frame_{k}.jpg": os.urandom(1_000) for k in range(3)},
    "object_mask/frame_0.png": b"png",
    "test_mask/0/red apple.png": b"png",
    "sparse/0/cameras.bin": b"bin",
}


def lerf(server: Server, config: DownloadsConfig) -> Path:
    dataset: Dataset = DATASETS["lerf_mask", "figurines"]
    target = dataset_path(Path(config.folder), "lerf_mask", "figurines", 1)
    fetch_dataset(dataset, target, 1, config, endpoint=server.address, sleep=no_sleep)
    return target


@pytest.mark.parametrize("packed", [False, True])
def test_a_scene_as_a_folder_or_as_an_archive(
    server: Server, config: DownloadsConfig, tmp_path: Path, packed: bool
) -> None:
    extra = {"point_cloud.ply": b"not needed", "images_x/a.jpg": b"neither"}
    below = "data/lerf_mask"
    if packed:
        archive = {f"figurines/{name}": content for name, content in {**SCENE, **extra}.items()}
        files = {f"{below}/figurines.zip": zipped(archive), f"{below}/ramen.zip": b"x"}
    else:
        files = {f"{below}/figurines/{name}": data for name, data in {**SCENE, **extra}.items()}
    publish(server, LERF, files)
    target = lerf(server, config)
    assert {name: (target / name).read_bytes() for name in left_behind(target)} == SCENE
    assert len(left_behind(Path(config.folder))) == len(SCENE)
    locked = json.loads((tmp_path / "lock.json").read_text())["lerf_mask/figurines"]
    assert locked["revision"] == COMMIT


def test_the_recorded_commit_is_fetched_again(server: Server, config: DownloadsConfig) -> None:
    publish(server, LERF, {"data/lerf_mask/figurines.zip": zipped(SCENE)})
    shutil.rmtree(lerf(server, config))
    newer = {"data/lerf_mask/figurines.zip": zipped({**SCENE, "sparse/0/cameras.bin": b"new"})}
    server.answers[f"/api/models/{LERF}/revision/main"] = lambda: {"id": LERF, "sha": "1" * 40}
    publish_at = "1" * 40
    for path, content in newer.items():
        server.put(f"/{LERF}/resolve/{publish_at}/{path}", content)
    assert (lerf(server, config) / "sparse/0/cameras.bin").read_bytes() == b"bin"


@pytest.mark.parametrize("what", sorted(hostile({}, "figurines/images")))
def test_a_hostile_archive(server: Server, config: DownloadsConfig, what: str) -> None:
    good = {f"figurines/{name}": content for name, content in SCENE.items()}
    bad = hostile(good, "figurines/images")[what]
    publish(server, LERF, {"data/lerf_mask/figurines.zip": bad})
    with pytest.raises(DownloadError, match="nothing of it was unpacked") as caught:
        lerf(server, config)
    assert what in str(caught.value)
    assert left_behind(Path(config.folder)) == []


def test_an_archive_that_is_none(server: Server, config: DownloadsConfig) -> None:
    publish(server, LERF, {"data/lerf_mask/figurines.zip": b"<html>" * 10})
    with pytest.raises(DownloadError, match="not a usable zip archive"):
        lerf(server, config)
    assert left_behind(Path(config.folder)) == []


def test_a_scene_that_was_moved(server: Server, config: DownloadsConfig) -> None:
    publish(server, LERF, {"data/lerf_mask/ramen.zip": b"x"})
    with pytest.raises(
        DownloadError, match=r"neither data/lerf_mask/figurines/ nor figurines\.zip"
    ):
        lerf(server, config)
