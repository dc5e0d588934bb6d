"""Backend `deva`: our driver against the contract of DEVA's classes.

Tests with the fixture `deva` run twice: against the small stand-in of `fake_deva`, and against the
real package where it is installed, with a network of random weights.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.images import write_image
from gradiseg_core.stages.tracking.backends.deva import Options
from gradiseg_core.stages.tracking.deva import driver as backend
from gradiseg_core.stages.tracking.deva import package
from gradiseg_core.stages.tracking.deva.detections import SamPoints, grid
from gradiseg_core.stages.tracking.interface import Request
from gradiseg_core.stages.tracking.stage import Association, associate
from tests.stages.tracking import blobs as synthetic
from tests.stages.tracking import fake_deva

HEIGHT, WIDTH = 48, 64


def real_is_installed() -> bool:
    if importlib.util.find_spec("deva") is None:
        return False
    try:
        package.load_package()
    except BackendUnavailableError:
        return False
    return True


@pytest.fixture(params=["fake", "real"])
def deva(request, monkeypatch) -> str:
    """Which DEVA is behind the names `deva...`."""
    if request.param == "fake":
        fake_deva.install(monkeypatch)
    else:
        if not real_is_installed():
            pytest.skip(f"DEVA is not installed: {package.INSTALL}")
        from deva.model import resnet

        def no_network(*_):
            raise AssertionError("weights that a checkpoint replaces were downloaded")

        monkeypatch.setattr(resnet.model_zoo, "load_url", no_network)
    return request.param


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A function from which DEVA it is to a checkpoint file of random weights."""
    made: dict[str, Path] = {}

    def checkpoint(kind: str) -> Path:
        if kind not in made:
            classes = package.load_package()
            torch.manual_seed(0)
            with package._without_downloads():
                network = classes.network(options())
            made[kind] = tmp_path_factory.mktemp("deva") / f"{kind}.pth"
            torch.save(network.state_dict(), made[kind])
        return made[kind]

    return checkpoint


def options(frames: int = 12, **changed) -> dict:
    config = Options(**changed)
    return package.core_config(config, frames=frames, tokens=12)


def clip(folder: Path, count: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[Path]:
    """Noisy photographs with two squares each, and their segments under other IDs in each."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(count):
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        ids = np.zeros(size, np.int32)
        ids[4:20, 4:20] = 7 + index
        ids[24:40, 28:56] = 90 - index
        image[ids == 7 + index] = (250, 30, 30)
        image[ids == 90 - index] = (30, 30, 250)
        paths.append(folder / "images" / f"f{index:03d}.png")
        write_image(paths[-1], image)
        write_id_map(folder / "masks" / f"f{index:03d}.png", ids)
    return paths


class Recorder:
    """Notes the calls of a core in order, with the place in the clip that each works at."""

    def __init__(self, core):
        self.calls: list[tuple] = []
        self.frames: list = []
        for name in ("step", "incorporate_detection", "vote_in_temporary_buffer", "clear_buffer"):
            setattr(core, name, self._noting(core, name, getattr(core, name)))

    def _noting(self, core, name, method):
        def call(*args, **kwargs):
            if name == "vote_in_temporary_buffer":
                self.frames.append(list(core.frame_buffer))
                self.calls.append(("vote", *(frame.ti for frame in core.frame_buffer)))
            result = method(*args, **kwargs)
            if name == "step":
                self.calls.append(("look" if kwargs.get("end") else "step", core.curr_ti))
            elif name == "incorporate_detection":
                self.calls.append(("detect", core.curr_ti, kwargs["incremental"]))
            elif name == "clear_buffer":
                self.calls.append(("clear",))
            return result

        return call


def driver(kind, checkpoint, folder, config, *, frames, detector=None):
    from gradiseg_core.stages.tracking.deva.detections import GivenMasks

    classes = package.load_package()
    device = torch.device("cpu")
    settings = package.core_config(config, frames=frames, tokens=12)
    core = classes.core(package.load_network(classes, checkpoint, settings, device), settings)
    core.enabled_long_id()
    recorder = Recorder(core)
    detector = detector or GivenMasks(folder / "masks")
    return backend.Driver(classes, core, detector, config, device), recorder


def frames_of(paths: list[Path]) -> list[backend.Frame]:
    return [backend.Frame(index, path.stem, path) for index, path in enumerate(paths)]


CONFIG = Options(detections="masks", size=HEIGHT, device="cpu")


def test_calls_come_in_order_and_the_last_frames_are_flushed(deva, random_weights, tmp_path):
    paths = clip(tmp_path, 12)
    run, recorder = driver(deva, random_weights(deva), tmp_path, CONFIG, frames=12)
    with torch.inference_mode():
        result = list(run.run(frames_of(paths)))
    assert recorder.calls == [
        ("vote", 0, 1, 2), ("detect", 0, False), ("step", 1), ("step", 2), ("clear",),
        ("step", 3), ("step", 4),
        ("vote", 5, 6, 7), ("detect", 5, False), ("step", 6), ("step", 7), ("clear",),
        ("step", 8), ("step", 9), ("step", 10), ("step", 11), ("clear",),
    ]  # fmt: skip
    assert [frame.index for frame, _ in result] == list(range(12))
    for _, ids in result:
        assert ids.shape == (HEIGHT, WIDTH)
        assert ids.dtype == np.int32
    # Dense in order of appearance, whatever DEVA's long IDs are.
    assert len(run.number) >= 2
    assert sorted(run.number.values()) == list(range(1, len(run.number) + 1))
    assert all(number >= 256 for number in run.number)


def test_the_vote_gets_the_segments_of_all_its_frames(deva, random_weights, tmp_path):
    paths = clip(tmp_path, 3)
    run, recorder = driver(deva, random_weights(deva), tmp_path, CONFIG, frames=3)
    with torch.inference_mode():
        list(run.run(frames_of(paths)))
    (frames,) = recorder.frames
    for index, frame in enumerate(frames):
        ids = read_id_map(tmp_path / "masks" / f"f{index:03d}.png")
        values = np.unique(ids[ids > 0])
        assert [info.id for info in frame.segments_info] == [1, 2]
        assert frame.info["frame"] == [f"f{index:03d}.png"]
        assert frame.mask.dtype == torch.int64
        for number, value in enumerate(values, start=1):
            assert np.array_equal(frame.mask.numpy() == number, ids == value)


def test_a_segment_of_one_frame_is_outvoted(monkeypatch, random_weights, tmp_path):
    fake_deva.install(monkeypatch)
    paths = clip(tmp_path, 3)
    first = tmp_path / "masks" / "f000.png"
    ids = read_id_map(first)
    ids[42:47, 2:10] = 500  # nowhere else
    write_id_map(first, ids)
    run, _ = driver("fake", random_weights("fake"), tmp_path, CONFIG, frames=3)
    result = [found for _, found in run.run(frames_of(paths))]
    assert np.array_equal(result[0] > 0, (ids > 0) & (ids != 500))
    assert set(np.unique(result[2])) == {0, 1, 2}


def test_upright_and_broad_views_lie_on_one_canvas(monkeypatch, random_weights, tmp_path):
    """DEVA's memory is of one size; each view's IDs are as large as the view."""
    fake_deva.install(monkeypatch)
    paths = clip(tmp_path, 4)
    for index in (1, 3):  # upright; the squares are where they are in the others
        ids = read_id_map(tmp_path / "masks" / f"f{index:03d}.png")
        upright = np.zeros((WIDTH, HEIGHT), np.int32)
        upright[:HEIGHT] = ids[:, :HEIGHT]
        write_id_map(tmp_path / "masks" / f"f{index:03d}.png", upright)
        write_image(paths[index], np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    assert backend.canvas_of(paths[:1], HEIGHT) == (HEIGHT, WIDTH)
    run, _ = driver("fake", random_weights("fake"), tmp_path, CONFIG, frames=4)
    run.canvas = backend.canvas_of(paths, HEIGHT)
    assert run.canvas == (WIDTH, WIDTH)
    result = [found for _, found in run.run(frames_of(paths))]
    assert [ids.shape for ids in result] == 2 * [(HEIGHT, WIDTH), (WIDTH, HEIGHT)]
    for ids in result:
        assert (ids[4:20, 4:20] == ids[5, 5]).all()
        assert (ids[24:40, 28:HEIGHT] == ids[25, 30]).all()
    assert len({(ids[5, 5], ids[25, 30]) for ids in result}) == 1
    assert result[0][5, 5] != result[0][25, 30]


def test_looking_ahead_leaves_no_trace(deva, random_weights, tmp_path):
    paths = clip(tmp_path, 8)
    seen = []

    class Uncovered:
        incremental = True

        def detect(self, frame, photograph, covered, size):
            seen.append((frame.index, covered))
            ids = np.zeros(size, np.int32)
            ids[4:20, 4:20] = 1
            return ids, [0.9]

    run, recorder = driver(
        deva, random_weights(deva), tmp_path, CONFIG, frames=8, detector=Uncovered()
    )
    core = run.core
    looked = []
    covered = run._covered

    def watching(index, image):
        before = core.curr_ti, core.last_mask
        sensory = {key: value.clone() for key, value in getattr(core.memory, "sensory", {}).items()}
        found = covered(index, image)
        assert (core.curr_ti, core.last_mask) == (before[0], before[1])
        for key, value in sensory.items():
            assert torch.equal(core.memory.sensory[key], value)
        looked.append(index)
        return found

    run._covered = watching
    with torch.inference_mode():
        list(run.run(frames_of(paths)))
    assert looked == [0, 1, 2, 5, 6, 7]
    assert [covered is None for _, covered in seen] == [True] * 3 + [False] * 3
    assert all(covered.shape == (HEIGHT, WIDTH) for _, covered in seen[3:])
    assert ("detect", 5, True) in recorder.calls
    store = core.features if deva == "fake" else core.image_feature_store._store
    assert len(store) == 0  # cached features of all frames are gone
    if deva == "fake":
        assert np.array_equal(seen[3][1][4:20, 4:20], np.ones((16, 16), bool))
        assert seen[3][1].sum() == 256


def test_more_than_255_objects_stay_apart(monkeypatch, random_weights, tmp_path):
    fake_deva.install(monkeypatch)
    rows, columns = np.divmod(np.arange(60 * 80).reshape(60, 80), 80)
    ids = (rows // 4) * 20 + columns // 4 + 1  # 300 squares
    paths = clip(tmp_path, 5, size=(60, 80))
    for path in paths:
        write_id_map(tmp_path / "masks" / path.name, ids)
    config = CONFIG.model_copy(update={"size": 60, "max_objects": 400})
    run, _ = driver("fake", random_weights("fake"), tmp_path, config, frames=5)
    for _, found in run.run(frames_of(paths)):
        assert np.array_equal(found, ids)
    # What an 8-bit image would have made of the same IDs.
    assert len({number % 256 for number in run.number}) < 200
    assert run.most == 300
    assert run.denied == 0


def test_objects_are_counted_over_the_whole_clip(monkeypatch, random_weights, tmp_path):
    fake_deva.install(monkeypatch)
    paths = clip(tmp_path, 8)
    for path in paths[5:]:  # a third object appears before the second vote
        ids = read_id_map(tmp_path / "masks" / path.name)
        ids[42:47, 2:10] = 500
        write_id_map(tmp_path / "masks" / path.name, ids)
    found = {}
    for most in (4, 5):
        config = CONFIG.model_copy(update={"max_objects": most})
        run, _ = driver("fake", random_weights("fake"), tmp_path, config, frames=8)
        list(run.run(frames_of(paths)))
        found[most] = (len(run.number), run.denied)
    # The second vote finds three segments where two objects were: five by Gaussian Grouping's
    # count. The stand-in has no limit of its own.
    assert found == {4: (2, 1), 5: (3, 0)}


@pytest.fixture
def scene(tmp_path):
    """Folders of stages before, of the synthetic scene, and the request's other parts."""
    blobs = synthetic.make(num_views=8)
    return blobs, *synthetic.write(blobs, tmp_path / "given", num_test=1)


def stage_config(checkpoint, **changed) -> TrackingConfig:
    settings = {"detections": "masks", "size": 96, "device": "cpu", "checkpoint": checkpoint}
    top = {key: changed.pop(key) for key in ("backend", "repair") if key in changed}
    return TrackingConfig(**({"backend": "deva"} | top), deva=settings | changed)


RUN = {"max_ids": 256, "seed": 0, "threads": 1}


def test_the_whole_stage(deva, random_weights, scene, tmp_path, caplog):
    blobs, scene_dir, colmap_dir, masks_dir = scene
    caplog.set_level(logging.INFO)
    config = stage_config(None, size=64)
    out = tmp_path / "out"
    weights = {"deva": random_weights(deva)}
    summary = associate(
        Association(scene_dir, colmap_dir, masks_dir, config, **RUN, weights=weights), out
    )
    stems = [view.camera.stem for view in blobs.views[:-1]]
    assert sorted(path.stem for path in (out / "ids").iterdir()) == stems  # no test view
    for stem in stems:
        assert read_id_map(out / "ids" / f"{stem}.png").shape == (96, 128)
    assert [entry["id"] for entry in summary["objects"]] == list(range(1, summary["num_ids"] + 1))
    details = summary["details"]
    assert details["frame_px"] == [85, 64]
    assert details["frames"] == 7
    assert details["memory"]["bytes"] == 200 * details["memory"]["bytes_per_object"]
    assert "MB of memory an object" in caplog.text
    assert (out / "report.md").is_file()
    if deva == "fake":
        assert summary["num_ids"] == 5


def test_sfm_repairs_what_deva_confuses(monkeypatch, random_weights, scene, tmp_path):
    fake_deva.install(monkeypatch)
    blobs, scene_dir, colmap_dir, masks_dir = scene

    def confused(core, image):
        """Scores of the exact masks; two objects swapped in one frame, one lost and found again."""
        while len(core.object_manager.tmp_id_to_obj) < 6:
            core.object_manager.add()
        channel = np.array([0, 1, 2, 3, 4, 5])
        if core.curr_ti == 3:
            channel[[2, 3]] = 3, 2
        if core.curr_ti >= 4:
            channel[1] = 6
        found = torch.from_numpy(channel[blobs.exact[core.curr_ti]])
        return torch.stack([(found == number).float() for number in range(7)])

    monkeypatch.setattr(fake_deva.DEVAInferenceCore, "_scores", confused)
    result = {}
    for name in ("deva", "deva+sfm"):
        repair = "sfm" if name == "deva+sfm" else "none"
        config = stage_config(random_weights("fake"), repair=repair)
        result[name] = associate(
            Association(scene_dir, colmap_dir, masks_dir, config, **RUN), tmp_path / name
        )
    assert result["deva"]["id_consistency"] < 0.97
    assert result["deva"]["num_ids"] == 6
    assert result["deva+sfm"]["id_consistency"] > 0.995
    assert result["deva+sfm"]["num_ids"] == 5
    assert result["deva+sfm"]["backend"] == "deva+sfm"
    repaired = result["deva+sfm"]["repair"]
    assert repaired["id_consistency_before"] == result["deva"]["id_consistency"]


def test_a_clip_shorter_than_a_vote_is_refused(deva, random_weights, tmp_path):
    paths = clip(tmp_path, 2)
    run, recorder = driver(deva, random_weights(deva), tmp_path, CONFIG, frames=2)
    with pytest.raises(InputError, match=r"at least 3 views.*only 2 have a camera"):
        list(run.run(frames_of(paths)))
    assert recorder.calls == []


def test_nothing_tracked_is_an_error(monkeypatch, random_weights, scene):
    fake_deva.install(monkeypatch)
    blobs, _, _, masks_dir = scene
    for view, exact in zip(blobs.views, blobs.exact, strict=True):
        write_id_map(masks_dir / f"{view.camera.stem}.png", np.zeros_like(exact))
    with pytest.raises(InputError, match=r"deva tracked nothing.*detections: masks"):
        backend.track_views(request_for(scene, stage_config(random_weights("fake"))))


def test_masks_are_checked(monkeypatch, random_weights, tmp_path):
    fake_deva.install(monkeypatch)
    paths = clip(tmp_path, 3)
    write_id_map(tmp_path / "masks" / "f001.png", np.ones((5, 9), int))
    run, _ = driver("fake", random_weights("fake"), tmp_path, CONFIG, frames=3)
    with pytest.raises(InputError, match=r"f001\.png is 9 x 5 px, its view is 64 x 48 px"):
        list(run.run(frames_of(paths)))
    (tmp_path / "masks" / "f000.png").unlink()
    run, _ = driver("fake", random_weights("fake"), tmp_path, CONFIG, frames=3)
    with pytest.raises(InputError, match=r"f000\.png not found; rerun stage `masks`"):
        list(run.run(frames_of(paths)))


def test_memory_is_no_more_than_estimated(deva, random_weights, tmp_path, monkeypatch):
    if deva == "fake":
        pytest.skip("the stand-in has no memory to measure")
    paths = clip(tmp_path, 27)
    memory = replace(package.MEMORY, max_mid_term_frames=4, min_mid_term_frames=2, num_prototypes=8)
    monkeypatch.setattr(package, "MEMORY", memory)
    monkeypatch.setattr(backend, "MEMORY", memory)
    config = CONFIG
    run, _ = driver(deva, random_weights(deva), tmp_path, config, frames=27)
    with torch.inference_mode():
        list(run.run(frames_of(paths)))
    memory = run.core.memory
    stores = [memory.work_mem.v, memory.long_mem.v, memory.sensory]
    held = Counter()
    for number, values in itertools.chain(*(store.items() for store in stores)):
        held[number] += values.nbytes
    assert held
    estimate = backend.memory_estimate(config, frames=27, height=HEIGHT, width=WIDTH)
    without_maps = estimate["bytes_per_object"] - 4 * 6 * HEIGHT * WIDTH
    assert 0.3 * without_maps < max(held.values()) <= without_maps


def request_for(scene, config, weights=None) -> Request:
    from gradiseg_core.files.manifest import SceneManifest

    _, scene_dir, colmap_dir, masks_dir = scene
    views = SceneManifest.load(scene_dir).train_views
    return Request(scene_dir, colmap_dir, masks_dir, views, config.options, 0, 1, weights or {})


def test_sam_is_asked_where_nothing_is_tracked(monkeypatch, random_weights, scene, tmp_path):
    import segment_anything

    from gradiseg_core.stages.tracking.deva import detections
    from tests import tiny_sam

    fake_deva.install(monkeypatch)
    monkeypatch.setitem(
        segment_anything.sam_model_registry, "vit_b", lambda: tiny_sam.build(seed=9)
    )
    monkeypatch.setattr(detections, "STABILITY_SCORE_OFFSET", 1e-3)
    monkeypatch.setattr(detections, "BOX_NMS_THRESH", 0.98)
    checkpoint = tiny_sam.save(tmp_path / "sam.pth", seed=9)
    config = stage_config(
        random_weights("fake"),
        detections="sam_points",
        sam={
            "model": "vit_b", "points_per_side": 4, "pred_iou_thresh": 0.0,
            "stability_score_thresh": 0.5,
        },
    )  # fmt: skip
    assert list(config.weights()) == ["deva", "sam_vit_b"]
    assert not config.needs_masks
    asked = []
    masks = SamPoints._masks

    def noting(self, image, points):
        records = masks(self, image, points)
        asked.append((points, len(records)))
        return records

    monkeypatch.setattr(SamPoints, "_masks", noting)
    request = request_for(scene, config, {"sam_vit_b": checkpoint})
    maps, details = backend.track_views(request)
    assert len(maps) == 7
    assert details["detections"] == "sam_points"
    assert np.array_equal(asked[0][0], grid(4))  # at first everywhere
    assert asked[0][1] > 0
    assert details["objects"] > 0
    assert all(len(points) < 16 for points, _ in asked[3:])  # then beside what is tracked
    with pytest.raises(InputError, match=r"tracking\.deva\.sam: no checkpoint sam_vit_b; run the"):
        backend.track_views(request_for(scene, config))


def test_checkpoints_are_read_as_tensors_only(deva, random_weights, scene, tmp_path):
    classes = package.load_package()
    cpu = torch.device("cpu")
    with pytest.raises(InputError, match=r"no file .*absent\.pth"):
        package.load_network(classes, tmp_path / "absent.pth", options(), cpu)
    bomb = tmp_path / "bomb.pth"
    bomb.write_bytes(pickle.dumps({"a": Path("x")}))
    with pytest.raises(InputError, match="cannot be read as a PyTorch checkpoint"):
        package.load_network(classes, bomb, options(), cpu)
    torch.save({"another.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="does not fit DEVA's network"):
        package.load_network(classes, tmp_path / "other.pth", options(), cpu)
    network = package.load_network(classes, random_weights(deva), options(), cpu)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(InputError, match="deva has no checkpoint"):
        backend.track_views(request_for(scene, stage_config(None)))
