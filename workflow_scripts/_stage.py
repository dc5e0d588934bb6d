"""Shared by all scripts, around their one call into the core: import path, logging, errors.

Messages go to the terminal and to the rule's log file, to that alone where they carry `not_shown`
(what a bar shows, numbers that a file holds as well). An expected error ends the job with only its
message, an unexpected one with its traceback. A job whose rule asks for a GPU holds one. A job ends
when its Snakemake is killed.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from _lifeline import hold


@contextmanager
def stage(snakemake: Any) -> Iterator[logging.Logger]:
    """Run the body as the job ``snakemake``; imports of the core belong into the body."""
    # The checkout's own modules must run, because the rules name them as inputs.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    terminal = logging.StreamHandler()
    # On a terminal, a line of one job may come upon the progress bar of another: wipe that first.
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    terminal.setFormatter(logging.Formatter(f"{start}[{snakemake.rule}] %(message)s"))
    terminal.addFilter(lambda record: not getattr(record, "not_shown", False))
    file = logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal, file], force=True)
    logging.captureWarnings(True)
    hold()
    logger = logging.getLogger(snakemake.rule)
    try:
        with _gpus(snakemake.resources.get("gpu", 0)):
            yield logger
    except KeyboardInterrupt as stop:  # Ctrl+C tells all processes of a terminal
        logger.error("%s", stop if stop.args else "stopped")
        raise SystemExit(130) from None
    except Exception as error:
        from gradiseg_core.errors import GradisegError
        from gradiseg_core.files.full_disk import explain_full_disk

        full = explain_full_disk(error, _written_folders(snakemake))
        if full is not None:
            logger.error("%s", full)
        elif isinstance(error, GradisegError):
            logger.error("%s", error)
        else:
            logger.exception("unexpected %s", type(error).__name__)
        raise SystemExit(1) from None


def _gpus(count: int) -> AbstractContextManager[Any]:
    """Return the context manager that holds the GPUs of the job."""
    if count < 1:
        return nullcontext()
    from gradiseg_core.compute.devices import claimed

    return claimed(count)


def _written_folders(snakemake: Any) -> list[Path]:
    """Return the folders that the job writes: results, work files, temporary files."""
    outputs = [Path(str(path)).parent for path in snakemake.output]
    params = snakemake.params
    work = [Path(params.get(key)) for key in ("work", "checkpoints") if params.get(key)]
    return [*outputs, *work, Path(tempfile.gettempdir())]
