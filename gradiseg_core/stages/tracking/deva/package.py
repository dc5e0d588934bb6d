"""The package `deva`: whether it is there and the right one, its classes, its network.

DEVA (Cheng et al., "Tracking Anything with Decoupled Video Segmentation", ICCV 2023) is for
non-commercial use only (CC BY-NC-SA 4.0), so nothing of it is part of this project: it is looked up
by name at run time. It is installed from its repository at `COMMIT`; the package called `deva` on
PyPI is another program.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.models.weights import load_checkpoint

if TYPE_CHECKING:
    from gradiseg_core.stages.tracking.backends.deva import Options as DevaOptions

COMMIT = "404a112df77f9644d5c7211811329ccd8174b8c3"
INSTALL = (
    "pip install --no-deps 'deva @ git+https://github.com/hkchengrex/"
    f"Tracking-Anything-with-DEVA@{COMMIT}' && pip install 'pulp<4'"
)
_HELP = (
    f"install it with `{INSTALL}`, or start Snakemake with `--sdm conda`; its licence, CC BY-NC-SA "
    "4.0, allows non-commercial use only. `tracking.backend: sfm` needs no tracker"
)
#: Widths of the published network (keys, values, features of an image).
KEY_DIM, VALUE_DIM, PIX_FEAT_DIM = 64, 512, 512


@dataclass(frozen=True)
class Memory:
    """DEVA's memory, as its demo_automatic.py and Gaussian Grouping have it.

    Attributes:
        chunk_size: Objects that are computed at once: a matter of speed and memory alone.
        mem_every: Frames after which a frame without a vote is memorised.
        max_mid_term_frames: Frames in memory before old ones are condensed.
        min_mid_term_frames: Frames that stay uncondensed then.
        max_long_term_elements: Most condensed elements of an object.
        num_prototypes: Elements that old frames are condensed to at a time.
        top_k: Elements of memory that each cell of a frame's feature map reads.
    """

    chunk_size: int = 4
    mem_every: int = 5
    max_mid_term_frames: int = 10
    min_mid_term_frames: int = 5
    max_long_term_elements: int = 10_000
    num_prototypes: int = 128
    top_k: int = 30


MEMORY = Memory()
#: Votes in which an object may be missing before it is forgotten (Gaussian Grouping's DEVA).
MAX_MISSED_DETECTIONS = 5


@dataclass(frozen=True)
class Package:
    """DEVA's public classes.

    Attributes:
        core: `DEVAInferenceCore`, which tracks.
        frame_info: `FrameInfo`, a frame that waits for a vote.
        object_info: `ObjectInfo`, a detection or an object.
        network: `DEVA`, the propagation network.
    """

    core: Any
    frame_info: Any
    object_info: Any
    network: Any


def load_package() -> Package:
    """Import DEVA.

    Raises:
        BackendUnavailableError: If it is missing, lacks a package, or is PyPI's `deva`.
    """
    _check_origin()
    try:
        return Package(
            importlib.import_module("deva.inference.inference_core").DEVAInferenceCore,
            importlib.import_module("deva.inference.frame_utils").FrameInfo,
            importlib.import_module("deva.inference.object_info").ObjectInfo,
            importlib.import_module("deva.model.network").DEVA,
        )
    except ImportError as error:
        raise BackendUnavailableError(
            f"tracking.backend: DEVA is installed, but {error.name or error} cannot be imported; "
            f"{_HELP}"
        ) from error


def _check_origin() -> None:
    """Look at the files of a package `deva` before running any of it.

    Raises:
        BackendUnavailableError: If there is none, or it is another program.
    """
    if "deva" in sys.modules:
        folders = list(getattr(sys.modules["deva"], "__path__", []))
    else:
        spec = importlib.util.find_spec("deva")
        if spec is None:
            raise BackendUnavailableError(f"tracking.backend: DEVA is not installed; {_HELP}")
        folders = list(spec.submodule_search_locations or [])
    if "deva.inference.inference_core" in sys.modules or any(
        (Path(folder) / "inference" / "inference_core.py").is_file() for folder in folders
    ):
        return
    raise BackendUnavailableError(
        f"tracking.backend: the package `deva` in {folders[0] if folders else 'this environment'} "
        "is not DEVA but another program of that name (PyPI's): `pip uninstall deva`, then "
        f"{_HELP}"
    )


def core_config(config: DevaOptions, *, frames: int, tokens: int) -> dict[str, Any]:
    """Return the dictionary of options that DEVA's classes read.

    Args:
        config: Options of the backend.
        frames: Length of the clip.
        tokens: Cells of a frame's feature map, one per 16 x 16 px.
    """
    span = MEMORY.max_mid_term_frames - MEMORY.min_mid_term_frames
    # A tiny frame has fewer elements than DEVA's selections ask for, on which they fail.
    prototypes = min(MEMORY.num_prototypes, tokens * span)
    return {
        "key_dim": KEY_DIM,
        "value_dim": VALUE_DIM,
        "pix_feat_dim": PIX_FEAT_DIM,
        "mem_every": MEMORY.mem_every,
        "enable_long_term": True,
        # As DEVA's own programs: usage is counted only where the clip can fill the memory.
        "enable_long_term_count_usage": frames / span * prototypes >= MEMORY.max_long_term_elements,
        "max_mid_term_frames": MEMORY.max_mid_term_frames,
        "min_mid_term_frames": MEMORY.min_mid_term_frames,
        "max_long_term_elements": MEMORY.max_long_term_elements,
        "num_prototypes": prototypes,
        "top_k": min(MEMORY.top_k, tokens),
        "chunk_size": MEMORY.chunk_size,
        "max_missed_detection_count": MAX_MISSED_DETECTIONS,
        "max_num_objects": config.max_objects,
    }


def load_network(package: Package, checkpoint: Path, options: dict[str, Any], device: Any) -> Any:
    """Return the propagation network with a checkpoint's weights, in evaluation mode.

    Args:
        package: DEVA.
        checkpoint: DEVA-propagation.pth or a file of its form: a dictionary of tensors.
        options: From `core_config`.
        device: Where it is put.

    Raises:
        InputError: If the file is missing, not plain tensors, or of another network.
    """
    state = load_checkpoint(Path(checkpoint), key="tracking.deva.checkpoint")
    with _without_downloads():
        network = package.network(options)
    try:
        network.load_weights(state)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InputError(
            f"tracking.deva.checkpoint: {checkpoint} does not fit DEVA's network: {lines}; take "
            "DEVA-propagation.pth"
        ) from error
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def _without_downloads() -> Iterator[None]:
    """Keep DEVA's encoders from fetching ImageNet's weights, which the checkpoint replaces."""
    resnet = importlib.import_module("deva.model.resnet")
    originals = {name: getattr(resnet, name) for name in ("resnet18", "resnet50")}

    def untrained(build: Any) -> Any:
        return lambda pretrained=True, **options: build(pretrained=False, **options)

    for name, build in originals.items():
        setattr(resnet, name, untrained(build))
    try:
        yield
    finally:
        for name, build in originals.items():
            setattr(resnet, name, build)
