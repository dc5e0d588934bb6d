"""The driver of DEVA, the video tracker that the paper and Gaussian Grouping take their IDs from.

The photographs, in order of their names, are a clip. Every `detection_every` frames, the detections
of `voting_frames` successive frames vote on what is there (semi-online); the vote is merged with
what DEVA's memory expects, and the network carries it on. The driver is this module's, on DEVA's
public classes (:mod:`.package`). It follows the run of Gaussian Grouping with these differences:

* IDs are DEVA's long ones, numbered densely here. GG takes the short ones, which wrap at 255 when
  they are written, so that different objects share one.
* SAM is not asked where an object is tracked already. Here this is predicted anew for each frame of
  a vote, without a change to DEVA's memory. DEVA's demo predicts it once, for the vote's first
  frame, and memorises that prediction.
* Test views are left out, except for `baseline_2d`; GG's clips contain them.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import by_name
from gradiseg_core.stages.tracking.deva.detections import Detector, Frame, make_detector
from gradiseg_core.stages.tracking.deva.package import MEMORY, VALUE_DIM, Package, core_config
from gradiseg_core.stages.tracking.overflow import IdMaps

if TYPE_CHECKING:
    import torch

    from gradiseg_core.stages.tracking.backends.deva import Options as DevaOptions
    from gradiseg_core.stages.tracking.interface import Request

logger = logging.getLogger(__name__)

STRIDE = 16  # px per cell of DEVA's feature map
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of colours in 0..1
_DENIED = "Number of objects exceeded"  # how DEVA's own warning starts
#: Channels that are upsampled at a time.
_UPSAMPLED_AT_ONCE = 16
_ADVICE = "lower `tracking.deva.max_objects` (memory is linear in it) or `tracking.deva.size`"


class _Input(NamedTuple):
    """A frame as DEVA takes it.

    Attributes:
        frame: The view.
        image: [3, H', W'], all frames' common size: zeros lie right of and below the photograph.
        inner: (h, w) of the photograph in it.
        shape: (H, W) of the photograph itself.
    """

    frame: Frame
    image: Any
    inner: tuple[int, int]
    shape: tuple[int, int]


@dataclass
class Driver:
    """One run over a clip.

    Attributes:
        package: DEVA.
        core: Its `DEVAInferenceCore`, with long IDs.
        detector: Where detections come from.
        config: Options.
        device: Where tensors are put.
        canvas: (h, w) that holds every frame; None: all are of one size.
        number: Long IDs -> dense ones, in order of appearance.
        denied: Votes whose detections were dropped because there were too many objects.
        most: Most objects in memory at once.
    """

    package: Package
    core: Any
    detector: Detector
    config: DevaOptions
    device: Any
    canvas: tuple[int, int] | None = None
    number: dict[int, int] = field(default_factory=dict)
    denied: int = 0
    most: int = 0

    def run(self, frames: list[Frame]) -> Iterator[tuple[Frame, NDArray[np.int32]]]:
        """Yield each frame with its IDs, [H, W] of its photograph, in order.

        Raises:
            InputError: If the clip is shorter than a vote.
        """
        if len(frames) < self.config.voting_frames:
            raise InputError(
                f"tracking.backend: deva needs at least {self.config.voting_frames} views "
                f"(tracking.deva.voting_frames), but only {len(frames)} have a camera; lower it, "
                "or take `tracking.backend: sfm`"
            )
        next_vote = self.config.voting_frames - 1
        waiting: list[_Input] = []
        for frame in frames:
            photograph = read_image(frame.path)
            given = self._input(frame, photograph)
            if frame.index + self.config.voting_frames <= next_vote:
                yield frame, self._ids(self.core.step(given.image, None, None), given)
                continue
            self._wait(photograph, given)
            waiting.append(given)
            if frame.index == next_vote:
                yield from self._vote(waiting)
                waiting.clear()
                next_vote += self.config.detection_every
        # The clip ends before its last vote: these frames follow from memory alone.
        for given in waiting:
            yield given.frame, self._ids(self.core.step(given.image, None, None), given)
        self.core.clear_buffer()

    def _input(self, frame: Frame, photograph: NDArray[np.uint8]) -> _Input:
        image = as_input(photograph, self.config.size, self.device)
        inner = image.shape[-2], image.shape[-1]
        return _Input(frame, on_canvas(image, self.canvas), inner, photograph.shape[:2])

    def _wait(self, photograph: NDArray[np.uint8], given: _Input) -> None:
        """Detect in a frame and queue it for the vote."""
        import torch

        frame, image, (height, width), _ = given
        covered = self._covered(frame.index, image) if self.detector.incremental else None
        if covered is not None:
            covered = covered[:height, :width]
        ids, scores = self.detector.detect(frame, photograph, covered, (height, width))
        mask = torch.from_numpy(ids.astype(np.int64)).to(self.device)
        info = {"frame": [frame.path.name], "shape": list(photograph.shape[:2])}
        self.core.add_to_temporary_buffer(
            self.package.frame_info(
                image,
                on_canvas(mask, self.canvas),
                [self.package.object_info(n, score=s) for n, s in enumerate(scores, start=1)],
                frame.index,
                info,
            )
        )

    def _covered(self, index: int, image: torch.Tensor) -> NDArray[np.bool_] | None:
        """Return what memory predicts for a frame, [h, w]; only cached features change."""
        core = self.core
        if not core.memory.engaged:
            return None
        before = core.curr_ti, core.last_mask
        # `end`: nothing is memorised.
        expected = core.step(
            image, None, None, end=True, image_ti_override=index, delete_buffer=False
        )
        core.curr_ti, core.last_mask = before
        return (expected.argmax(dim=0) > 0).cpu().numpy()

    def _vote(self, waiting: list[_Input]) -> Iterator[tuple[Frame, NDArray[np.int32]]]:
        """Vote on the queued frames, and track them."""
        import torch

        core = self.core
        _, mask, found = core.vote_in_temporary_buffer(keyframe_selection="first")
        if self._is_full(found):
            mask, found = torch.zeros_like(mask), []
            self.denied += 1
        first = waiting[0]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scores = core.incorporate_detection(
                first.image, mask, found, incremental=self.detector.incremental
            )
        self.denied += any(str(warning.message).startswith(_DENIED) for warning in caught)
        yield first.frame, self._ids(scores, first)
        for given in waiting[1:]:
            yield given.frame, self._ids(core.step(given.image, None, None), given)
        core.clear_buffer()

    def _is_full(self, found: list[Any]) -> bool:
        """Whether a vote would exceed `max_objects`, counted over the whole clip.

        So does Gaussian Grouping's DEVA; DEVA itself counts the present objects since 2024.
        """
        ever = len(self.core.object_manager.all_historical_object_ids)
        return bool(found) and ever + len(found) > self.config.max_objects

    def _ids(self, scores: torch.Tensor, given: _Input) -> NDArray[np.int32]:
        """Decide, enlarge and number: [1 + n, h, w] scores -> [H, W] dense IDs.

        Call it before the core's next call, which may reorder the channels.
        """
        height, width = given.inner
        channels = decide(scores[:, :height, :width], given.shape)
        objects = self.core.object_manager.tmp_id_to_obj
        self.most = max(self.most, len(objects))
        table = np.zeros(len(scores), np.int32)
        for channel in sorted(objects):
            if channel < len(scores):
                table[channel] = self.number.setdefault(
                    int(objects[channel].id), len(self.number) + 1
                )
        return table[channels]


def as_input(photograph: NDArray[np.uint8], size: int, device: Any) -> torch.Tensor:
    """Return a photograph as DEVA takes it: [3, h, w], normalised, of shorter side ``size`` px."""
    import torch

    image = torch.from_numpy(photograph.copy()).to(device).permute(2, 0, 1) / 255.0
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (_MEAN, _STD))
    target = input_shape(photograph.shape[:2], size)
    resized = torch.nn.functional.interpolate(
        ((image - mean) / std)[None], target, mode="bilinear", align_corners=False
    )
    return resized[0]


def on_canvas(values: torch.Tensor, canvas: tuple[int, int] | None) -> torch.Tensor:
    """Return [..., h, w] values with zeros right and below, [..., H', W'].

    DEVA's memory is of one size; photographs of several lie in its upper left corner.
    """
    if canvas is None or tuple(values.shape[-2:]) == canvas:
        return values
    from torch.nn.functional import pad

    return pad(values, (0, canvas[1] - values.shape[-1], 0, canvas[0] - values.shape[-2]))


def input_shape(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Return (h, w) of a photograph of (H, W) whose shorter side becomes ``size`` px."""
    height, width = shape
    return height * size // min(height, width), width * size // min(height, width)


def canvas_of(paths: Sequence[Path], size: int) -> tuple[int, int]:
    """Return the (h, w) that holds all photographs as DEVA takes them."""
    from PIL import Image

    shapes = []
    for path in paths:
        with Image.open(path) as file:  # undistorted images carry no orientation
            shapes.append(input_shape((file.height, file.width), size))
    return max(h for h, _ in shapes), max(w for _, w in shapes)


def decide(scores: torch.Tensor, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the channel of the largest score at each pixel, [H, W]; the first one on ties.

    Scores are enlarged, a few channels at a time, and then decided, as in Gaussian Grouping's DEVA.

    Args:
        scores: [n, h, w] probabilities or logits.
        shape: (H, W).
    """
    import torch
    from torch.nn.functional import interpolate

    best = torch.full(shape, -math.inf, device=scores.device)
    channel = torch.zeros(shape, dtype=torch.int64, device=scores.device)
    for start in range(0, len(scores), _UPSAMPLED_AT_ONCE):
        part = scores[start : start + _UPSAMPLED_AT_ONCE, None].float()
        large = interpolate(part, shape, mode="bilinear", align_corners=False)[:, 0]
        most, where = large.max(dim=0)
        better = most > best
        best[better] = most[better]
        channel[better] = where[better] + start
    return channel.cpu().numpy()


def memory_estimate(config: DevaOptions, *, frames: int, height: int, width: int) -> dict[str, int]:
    """Estimate DEVA's memory for its objects, bytes.

    An object has values (512 numbers at every 16 x 16 px of each frame in memory, and of condensed
    elements), a state of one such frame, and a handful of full maps. Numbers count as 4 bytes, of
    which half precision saves a part. The network and one frame's features come on top.

    Args:
        config: Options.
        frames: Length of the clip.
        height: Of DEVA's frames, px.
        width: Of DEVA's frames, px.

    Returns:
        ``bytes_per_object`` at the end of the clip, ``max_objects`` and their ``bytes``.
    """
    tokens = math.ceil(height / STRIDE) * math.ceil(width / STRIDE)
    # One vote memorises one frame; between votes, every `mem_every`-th.
    memorised = math.ceil(frames / min(config.detection_every, MEMORY.mem_every))
    condensed = 0
    if memorised >= MEMORY.max_mid_term_frames:
        span = MEMORY.max_mid_term_frames - MEMORY.min_mid_term_frames
        rounds = (memorised - MEMORY.max_mid_term_frames) // span + 1
        condensed = min(rounds * MEMORY.num_prototypes, MEMORY.max_long_term_elements)
        memorised = MEMORY.max_mid_term_frames
    values = VALUE_DIM * (memorised * tokens + condensed + tokens)
    maps = 6 * tokens * STRIDE**2
    each = 4 * (values + maps)
    return {
        "bytes_per_object": each,
        "max_objects": config.max_objects,
        "bytes": each * config.max_objects,
    }


def track_views(request: Request) -> tuple[IdMaps, dict]:
    """Run DEVA over the views of a request.

    Returns:
        maps: By stem, [H, W] int32 dense IDs; 0 = nothing tracked.
        details: Facts for objects.json: package, detections, objects, memory.

    Raises:
        BackendUnavailableError: If DEVA, SAM, the device or its memory are missing.
        InputError: If inputs are missing, the clip is too short, or nothing was tracked.
    """
    import torch

    from gradiseg_core.compute.placement import choose_device, memory_advice
    from gradiseg_core.progress import Progress
    from gradiseg_core.stages.tracking.deva.package import COMMIT, load_network, load_package

    config = request.options
    package = load_package()
    device = choose_device(config.device, "tracking.deva.device")
    frames = _frames(request)
    height, width = canvas_of([frame.path for frame in frames], config.size)
    estimate = memory_estimate(config, frames=len(frames), height=height, width=width)
    _announce(estimate, device)
    tokens = math.ceil(height / STRIDE) * math.ceil(width / STRIDE)
    options = core_config(config, frames=len(frames), tokens=tokens)
    checkpoint = _checkpoint(request)
    torch.set_num_threads(max(1, request.threads))
    half = config.half and device.type == "cuda"
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=torch.float16, enabled=half),
        memory_advice("DEVA", _ADVICE),
    ):
        network = load_network(package, checkpoint, options, device)
        core = package.core(network, options)
        core.enabled_long_id()
        driver = Driver(
            package, core, make_detector(request, device), config, device, (height, width)
        )
        maps: IdMaps = {}
        with Progress("tracking", len(frames), "views") as progress:
            for frame, ids in driver.run(frames):
                maps[frame.stem] = ids
                progress.advance()
    _check_tracked(driver, config)
    peak = int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
    return maps, {
        "detections": config.detections,
        "package_commit_expected": COMMIT,
        "frames": len(frames),
        "frame_px": [width, height],
        **_counts(driver, estimate, peak),
    }


def _counts(driver: Driver, estimate: dict[str, int], peak: int | None) -> dict[str, Any]:
    """Return, and log, how many objects there were and what memory they took.

    Args:
        driver: After its run.
        estimate: Of :func:`memory_estimate`.
        peak: Measured on a GPU, bytes.
    """
    used = driver.most * estimate["bytes_per_object"]
    logger.info(
        "deva: %d objects, at most %d at once (about %.1f GB of memory)",
        len(driver.number),
        driver.most,
        used / 1e9,
    )
    return {
        "objects": len(driver.number),
        "most_objects_at_once": driver.most,
        "votes_denied": driver.denied,
        "memory": {
            **estimate,
            "bytes_at_most_objects": used,
            "measured_peak_bytes": peak,
        },
    }


def _frames(request: Request) -> list[Frame]:
    """Return the views as frames of a clip, in the order of their names.

    Raises:
        InputError: If a photograph is missing.
    """
    views = sorted(request.views, key=lambda view: by_name(view.name))
    frames = [
        Frame(index, view.stem, request.colmap_dir / "images" / view.name)
        for index, view in enumerate(views)
    ]
    missing = [str(frame.path) for frame in frames if not frame.path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} not found; rerun stage `colmap`")
    return frames


def _checkpoint(request: Request) -> Path:
    """Return DEVA's weights.

    Raises:
        InputError: If none were given.
    """
    checkpoint = request.weights.get("deva") or request.options.checkpoint
    if checkpoint is None:
        raise InputError(
            "tracking.backend: deva has no checkpoint; run the workflow, which downloads it, or "
            "name your file in `tracking.deva.checkpoint`"
        )
    return checkpoint


def _check_tracked(driver: Driver, config: DevaOptions) -> None:
    """Refuse a run that tracked nothing; warn where detections were dropped.

    Raises:
        InputError: If there is no object.
    """
    if not driver.number:
        raise InputError(
            "deva tracked nothing: no segment was confirmed by a vote; check its detections "
            f"(tracking.deva.detections: {config.detections}) and the checkpoint"
        )
    if driver.denied:
        logger.warning(
            "deva: in %d votes there were more than %d objects (tracking.deva.max_objects), so "
            "that new detections were dropped",
            driver.denied,
            config.max_objects,
        )


def _announce(estimate: dict[str, int], device: torch.device) -> None:
    """Log what memory objects may take, and warn where the GPU has less."""
    import torch

    logger.info(
        "deva: %.0f MB of memory an object, %.1f GB at %d objects",
        estimate["bytes_per_object"] / 1e6,
        estimate["bytes"] / 1e9,
        estimate["max_objects"],
    )
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if estimate["bytes"] > free:
            logger.warning(
                "deva: the GPU has %.1f GB free, enough for about %d objects; %s",
                free / 1e9,
                free // estimate["bytes_per_object"],
                _ADVICE,
            )
