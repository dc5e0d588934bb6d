"""What a run keeps in its working folder: its checkpoint, and the log of its metrics."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from gradiseg_core.files.work_files import NOTE, set_aside, write_whole
from gradiseg_core.progress import Progress

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


@contextlib.contextmanager
def stop_asked() -> Iterator[threading.Event]:
    """Yield what is set when a user asks the process to stop: Ctrl+C, or SIGTERM.

    The body can then end between two iterations, where its state is whole. Asked twice, it is
    stopped at once. Outside the main thread, where Python hands on no signals, nothing is set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save_checkpoint(
    folder: Path, state: dict[str, Any], noted: dict[str, Any] | None = None
) -> None:
    """Write ``state`` atomically; a kill in the middle leaves the former checkpoint whole.

    Args:
        folder: Working folder of the run.
        state: What :func:`load_checkpoint` returns.
        noted: Of it, for who plans the rest (:data:`NOTE`): `iteration`, and `digest` of the
            configuration. None: the rest cannot be planned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CHECKPOINT, lambda file: torch.save(state, file))
    (folder / NOTE).unlink(missing_ok=True)
    if noted is not None:
        write_whole(folder / NOTE, json.dumps(noted))


def forget_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a run that has ended."""
    for name in (NOTE, CHECKPOINT):
        (folder / name).unlink(missing_ok=True)


def load_checkpoint(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the state saved in ``folder``, or None where a run must start afresh.

    No code is unpickled.

    Tensors are in main memory, so that a run from another device can be resumed.

    Args:
        folder: Working folder of the run.
        fingerprint: Hash of configuration and inputs; a checkpoint of others is not resumed.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        saved = state["fingerprint"]
    except MemoryError:
        raise  # of the machine, not of the file
    except Exception as error:  # a damaged file raises nearly anything: zip, pickle, PyTorch
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek before its start
            raise
        set_aside(path, error, "training starts afresh")
        return None
    if saved != fingerprint:
        logger.info("%s is of another configuration or other inputs; starting afresh", path)
        return None
    return state


class Journal:
    """Metrics of one run: JSON lines, TensorBoard, progress.

    Lines of ``metrics.jsonl`` are flushed as they are written, to the working folder: a killed run
    keeps them, and a resumed one first drops those after its checkpoint. TensorBoard can watch the
    same folder while the run goes. :meth:`publish` moves both to the results.
    """

    def __init__(self, folder: Path, *, first_step: int, iterations: int, label: str) -> None:
        """Open the logs.

        Args:
            folder: Working folder.
            first_step: Iterations done already (0, or the checkpoint's).
            iterations: Length of the run.
            label: Name of the run where progress is shown.
        """
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / "metrics.jsonl"
        kept = []
        if first_step and self.path.is_file():
            kept = _up_to(self.path, first_step)
        write_whole(self.path, "".join(kept))
        if not first_step:
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self._file = self.path.open("a")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)
        self._progress = Progress(label, iterations, "it", done=first_step, keep=True)

    def advance(self) -> None:
        """Count one iteration."""
        self._progress.advance()

    def write(self, record: dict[str, Any]) -> None:
        """Log one record; it must hold ``iteration``."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for key, value in record.items():
            if key != "iteration" and value is not None:
                self._board.add_scalar(key, value, record["iteration"])
        self._progress.note(gaussians=str(record["num_gaussians"]), loss=f"{record['loss']:.4f}")

    def close(self) -> None:
        """Close files and the progress bar."""
        self._progress.close()
        self._board.close()
        self._file.close()

    def publish(self, out_dir: Path) -> None:
        """Close, and move the logs to ``out_dir``."""
        self.close()
        out_dir.mkdir(parents=True, exist_ok=True)
        shutil.move(str(self.path), out_dir / "metrics.jsonl")
        shutil.rmtree(out_dir / "tensorboard", ignore_errors=True)
        shutil.move(str(self.folder / "tensorboard"), out_dir / "tensorboard")


def _up_to(path: Path, last: int) -> list[str]:
    """Return the lines of iterations up to ``last``; a line that a kill cut short is left out."""
    kept, damaged = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            if json.loads(line)["iteration"] <= last:
                kept.append(line if line.endswith("\n") else line + "\n")
        except (ValueError, KeyError, TypeError):
            damaged += 1
    if damaged:
        logger.warning("%s: %d lines cannot be read and are left out", path, damaged)
    return kept
