"""GPUs of this machine: which there are, and which one a job takes.

Several jobs of one workflow may run at once. Each takes a device that no other job holds: there is
one lock file for each device, and the system releases the lock when the job ends in any way.

A number does not identify a card: CUDA numbers the cards that a process may use from 0, in its own
order, and a scheduler or a container may show different cards to each job. So cards are identified
by UUID, or else by their name in the driver. Nothing here imports PyTorch or touches CUDA.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")  # PyTorch reads either
NODES = Path("/dev")  # where the driver's device files are
DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each card, named by PCI address
_POLL_S = 2.0


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a part of one (MIG), that this process may use.

    Attributes:
        name: Its name in ``CUDA_VISIBLE_DEVICES``: a UUID, or a number if none is known.
        card: Its name for locks, the same in all processes of the machine.
        model: Its product name; empty if unknown.
    """

    name: str
    card: str
    model: str = ""


def visible_devices() -> list[Gpu]:
    """Return the NVIDIA GPUs that this process may use, without touching CUDA.

    Numbers in ``CUDA_VISIBLE_DEVICES`` follow CUDA's own order. They become UUIDs if that order is
    known: with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``, or if all cards are of one model. Otherwise CUDA
    puts the fastest first, and they stay numbers.

    Returns:
        The devices in ``CUDA_VISIBLE_DEVICES`` up to its first invalid entry, as CUDA reads it; all
        devices if it is not set.
    """
    given = os.environ.get(VISIBLE)
    if given is None:
        return present()
    entries = [entry.strip() for entry in given.split(",")]
    if not entries[0] or entries[0] == "-1":
        return []
    cards = present()
    in_order = os.environ.get(ORDER) == "PCI_BUS_ID" or len({gpu.model for gpu in cards}) <= 1
    found: list[Gpu] = []
    for entry in entries:
        gpu = _named(entry, cards, in_order=in_order)
        if gpu is None:
            break
        found.append(gpu)
    return found


def _named(entry: str, cards: list[Gpu], *, in_order: bool) -> Gpu | None:
    """Return the device of an entry of ``CUDA_VISIBLE_DEVICES``, or None if it is invalid."""
    parts = any(gpu.name.startswith("MIG-") for gpu in cards)  # CUDA counts these differently
    if entry.isdigit():
        if not cards or parts:
            return Gpu(entry, entry)
        if int(entry) >= len(cards):
            return None
        return cards[int(entry)] if in_order else Gpu(entry, entry)
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    matching = [gpu for gpu in cards if gpu.name.lower().startswith(entry.lower())]
    if len(matching) == 1:
        return matching[0]
    unknown = not cards or parts or any(gpu.name.isdigit() for gpu in cards)
    return Gpu(entry, entry) if unknown else None


def present() -> list[Gpu]:
    """Return the GPUs that this process can open, in the order of their PCI addresses.

    The sources, in this order: ``nvidia-smi``, which also knows parts of cards (MIG); the driver's
    files; the device files, which give numbers only.
    """
    return _from_tool() or _from_driver() or _from_nodes()


def _from_tool() -> list[Gpu]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("nvidia-smi does not answer (%s); asking the driver's files", error)
        return []
    found: list[Gpu] = []
    whole: Gpu | None = None
    for line in done.stdout.splitlines():
        card = re.match(r"GPU \d+: (.*) \(UUID: (GPU-[\w-]+)\)", line)
        if card is not None:
            whole = Gpu(card[2], card[2], card[1])
            found.append(whole)
        part = re.match(r"\s+MIG .*\(UUID: (MIG-[^)\s]+)\)", line)
        if part is not None and whole is not None:
            if whole in found:
                found.remove(whole)
            found.append(Gpu(part[1], part[1].replace("/", "_"), whole.model))
    return found


def _from_driver() -> list[Gpu]:
    """Read the driver's files; skip cards that this process may not open."""
    found: list[Gpu] = []
    folders = sorted(DRIVER.glob("*/information"))
    for position, (bus, facts) in enumerate(_usable(folders)):
        uuid = facts.get("GPU UUID", "")
        known = re.fullmatch(r"GPU-[0-9a-fA-F-]+", uuid)  # question marks before its first use
        found.append(Gpu(uuid if known else str(position), uuid if known else bus, facts["Model"]))
    return found


def _usable(files: list[Path]) -> Iterator[tuple[str, dict[str, str]]]:
    for file in files:
        lines = file.read_text(errors="replace").splitlines()
        facts = {
            key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
        }
        minor = facts.get("Device Minor", "")
        if _opens(NODES / f"nvidia{minor}"):
            yield file.parent.name, {"Model": ""} | facts


def _from_nodes() -> list[Gpu]:
    """Number the device files that can be opened from 0, as CUDA does."""
    paths = [path for path in NODES.glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]
    paths.sort(key=lambda path: int(path.name.removeprefix("nvidia")))
    opened = [path for path in paths if _opens(path)]
    return [Gpu(str(position), path.name) for position, path in enumerate(opened)]


def _opens(node: Path) -> bool:
    """Tell whether a device file is there and its control group lets this process open it."""
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def uses_gpu(wanted: str) -> bool:
    """Tell whether a stage of this ``device`` will want a GPU of this machine.

    ``cuda`` always does, so that the job fails with a message on a machine without one; ``auto``
    does if there is one. Snakemake asks often, so this starts no program.
    """
    if wanted != "auto":
        return wanted == "cuda"
    given = os.environ.get(VISIBLE)
    if given is not None:
        return given.split(",")[0].strip() not in ("", "-1")
    return any(path.name.removeprefix("nvidia").isdigit() for path in NODES.glob("nvidia*"))


def prepare_allocator() -> None:
    """Let PyTorch's GPU memory grow in place, unless the user chose otherwise; before CUDA starts.

    Tensors grow at every densification. With segments of fixed size the gaps that old tensors leave
    are too small for new ones, and memory runs out although much of it is free.
    """
    if not any(name in os.environ for name in ALLOCATOR):
        os.environ[ALLOCATOR[0]] = "expandable_segments:True"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def claimed(
    count: int, folder: Path | None = None, poll_s: float = _POLL_S
) -> Iterator[list[str] | None]:
    """Hold ``count`` GPUs of this machine for the body, and show it only these.

    Enter it before anything initialises CUDA, which reads ``CUDA_VISIBLE_DEVICES`` only once. A job
    waits while other jobs hold all devices.

    Args:
        count: GPUs that the job asks for; 0 claims none.
        folder: Folder of the lock files; by default the user's own, in the temporary folder.
        poll_s: How often a waiting job looks again, seconds.

    Yields:
        The devices held, as in ``CUDA_VISIBLE_DEVICES``; None if ``count`` is 0 or the machine has
        too few. Code that needs a GPU then raises its own error.
    """
    gpus = visible_devices() if count >= 1 else []
    if count < 1 or len(gpus) < count:
        yield None
        return
    prepare_allocator()
    folder = folder or Path(tempfile.gettempdir()) / f"gradiseg-gpus-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        with ExitStack() as held:
            free = _take(gpus, count, folder, held)
            if len(free) == count:
                names = [gpu.name for gpu in free]
                changed = {VISIBLE: ",".join(names)}
                if VISIBLE not in os.environ and any(name.isdigit() for name in names):
                    changed[ORDER] = "PCI_BUS_ID"  # the order that was used for counting
                with _environment(changed):
                    logger.info("using GPU %s", ", ".join(names))
                    yield names
                return
        if not told:
            logger.info("all %d GPUs are held by other jobs; waiting", len(gpus))
            told = True
        time.sleep(poll_s)


@contextmanager
def _environment(changed: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _take(gpus: list[Gpu], count: int, folder: Path, held: ExitStack) -> list[Gpu]:
    """Lock up to ``count`` devices that nobody holds."""
    free: list[Gpu] = []
    for gpu in gpus:
        if len(free) == count:
            break
        file = held.enter_context((folder / f"{gpu.card.replace('/', '_')}.lock").open("a"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        free.append(gpu)
    return free
