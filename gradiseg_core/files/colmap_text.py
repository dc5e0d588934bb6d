"""Names in COLMAP's text models, which COLMAP itself cuts at their first space."""

from __future__ import annotations

from collections.abc import Iterator


def text_images(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield image ID, camera ID and whole name of every image of an ``images.txt``.

    Args:
        text: Its content. Every image has two lines, of which the second may be empty.

    Raises:
        ValueError, IndexError: If a line is none of an image.
    """
    lines = iter(text.split("\n"))
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.strip().split(maxsplit=9)
        yield int(fields[0]), int(fields[8]), fields[9]
        next(lines, None)  # the image's points
