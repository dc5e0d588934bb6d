"""Photographs read and written by several threads, with a bound on what is in memory.

Pillow and its plug-ins release Python's lock while they decode, convert and encode.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

logger = logging.getLogger(__name__)

#: Pixels that all threads together may have decoded. A pixel takes up to 20 bytes (as stored,
#: converted, turned), so that this is about 1.3 GB.
_MOST_PX = 64_000_000
_APART_S = 20.0  # between two lines in the log

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    sizes: Sequence[tuple[int, int] | None],
    threads: int,
    done: str,
) -> list[_Result]:
    """Return ``work`` of every item, in their order.

    Args:
        work: What is done with one photograph.
        items: The photographs.
        sizes: Their (width, height), px; None takes no memory worth counting.
        threads: Threads at most; fewer where photographs are large.
        done: What has been done with a photograph, for the log: "inspected".
    """
    largest = max((width * height for width, height in filter(None, sizes)), default=1)
    workers = max(1, min(threads, _MOST_PX // max(1, largest)))
    results = []
    said = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for result in pool.map(work, items):
                results.append(result)
                if time.monotonic() - said > _APART_S:
                    said = time.monotonic()
                    logger.info("%d of %d photographs %s", len(results), len(items), done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
