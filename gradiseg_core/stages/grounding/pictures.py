"""Pictures of what a prompt found, for the report: boxes, text mask, clicks, chosen IDs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gradiseg_core.files.palette import id_colors
from gradiseg_core.files.pictures import GAP_PX, font, overlay_ids, panel_row
from gradiseg_core.stages.grounding.selection import Choice, Evidence

#: Pictures are resized to this height, px, so that numbers beside boxes can be read.
PANEL_HEIGHT_PX = 360
#: Boxes drawn at most; a low threshold can leave hundreds.
DRAWN_BOXES = 12
_ARM_PX = 12  # of the cross at a click
_USED, _UNUSED = (255, 214, 10), (150, 150, 150)
_MASK = (230, 60, 60)


def prompt_picture(
    prompt: str,
    choice: Choice,
    views: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.integer]]],
) -> NDArray[np.uint8]:
    """Draw one row a view: boxes and text mask, or clicks, where there are any, and chosen IDs.

    Args:
        prompt: What was asked for.
        choice: What was chosen.
        views: Stem, picture [H, W, 3] uint8 and IDs [H, W] of the views to show.

    Returns:
        [h, w, 3] uint8, with the prompt and the reason above.

    Raises:
        ValueError: If there is no view.
    """
    if not views:
        raise ValueError("a picture of a prompt needs at least one view")
    evidence = {entry.stem: entry for entry in choice.evidence}
    rows = [_row(choice, *view, evidence.get(view[0])) for view in views]
    width = max(row.shape[1] for row in rows)
    heading = _heading(prompt, choice, width)
    parts = [heading, *(_widened(row, width) for row in rows)]
    return np.concatenate(parts)


def _row(
    choice: Choice,
    stem: str,
    image: NDArray[np.uint8],
    ids: NDArray[np.integer],
    evidence: Evidence | None,
) -> NDArray[np.uint8]:
    scale = PANEL_HEIGHT_PX / image.shape[0]
    palette = id_colors(int(ids.max(initial=0)) + 1)
    # ID 0 can be chosen (Gaussian Grouping does not exclude it): shift it away from "nothing".
    shown = np.where(np.isin(ids, choice.ids), ids + 1, 0)
    shifted = np.concatenate([np.zeros((1, 3), np.uint8), palette])
    shifted[1] = (255, 255, 255)
    labels = ", ".join(map(str, choice.ids[:6])) + (" ..." if len(choice.ids) > 6 else "")
    result = _outlined(overlay_ids(image, shown, 0.6, shifted), ids)
    title = f"chosen IDs: {labels}" if choice.ids else "no ID chosen"
    if evidence is None:
        places = [click.place for click in choice.clicks if click.view.stem == stem]
        shown_as = f"{stem}: clicked" if places else stem
        marked = _crosses(_resized(image, scale), places)
        return panel_row([(shown_as, marked), (title, _resized(result, scale))])
    share = 100.0 * evidence.text_mask.mean()
    masked = overlay_ids(
        evidence.image,
        evidence.text_mask.astype(np.int64),
        0.6,
        np.array([(0, 0, 0), _MASK], np.uint8),
    )
    count = len(evidence.boxes)
    return panel_row(
        [
            (f"{stem}: {count} box{'es' * (count != 1)}", _boxes(evidence, scale)),
            (f"text mask: {share:.1f} % of the view", _resized(masked, scale)),
            (title, _resized(result, scale)),
        ]
    )


def _boxes(evidence: Evidence, scale: float) -> NDArray[np.uint8]:
    """Draw the boxes and their scores; those that made no mask are grey, the best lies on top."""
    picture = Image.fromarray(_resized(evidence.image, scale))
    draw = ImageDraw.Draw(picture)
    right, bottom = picture.width - 1, picture.height - 1
    text_font = font(14, bold=True)
    listed = list(zip(evidence.boxes, evidence.scores, strict=True))[:DRAWN_BOXES]
    for index, (box, score) in reversed(list(enumerate(listed))):
        color = _USED if index < evidence.used else _UNUSED
        x0, y0, x1, y1 = (box * scale).tolist()
        # Boxes may reach over the border, where their outline would not be seen.
        x0, x1 = sorted((min(max(x0, 0), right), min(max(x1, 0), right)))
        y0, y1 = sorted((min(max(y0, 0), bottom), min(max(y1, 0), bottom)))
        draw.rectangle((x0, y0, x1, y1), outline=color, width=3)
        label = f"{score:.2f}"
        left, top, end, low = draw.textbbox((x0 + 4, y0 + 3), label, font=text_font)
        dx = min(0.0, right - 2 - end)
        dy = min(0.0, bottom - 2 - low)
        draw.rectangle((left + dx - 3, top + dy - 3, end + dx + 2, low + dy + 2), fill=color)
        draw.text((x0 + 4 + dx, y0 + 3 + dy), label, fill="black", font=text_font)
    return np.asarray(picture)


def _crosses(
    picture: NDArray[np.uint8], places: Sequence[tuple[float, float]]
) -> NDArray[np.uint8]:
    """Draw a cross at every place, given in parts of the picture's width and height."""
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for place in places:
        x, y = place[0] * canvas.width, place[1] * canvas.height
        for width, colour in ((7, "black"), (3, _USED)):
            draw.line((x - _ARM_PX, y, x + _ARM_PX, y), fill=colour, width=width)
            draw.line((x, y - _ARM_PX, x, y + _ARM_PX), fill=colour, width=width)
    return np.asarray(canvas)


def _outlined(picture: NDArray[np.uint8], ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Draw the borders between all IDs, so that what was not chosen can be seen as well."""
    border = np.zeros(ids.shape, dtype=bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    lined = picture.copy()
    lined[border] = (lined[border].astype(np.float64) * 0.4 + 0.6 * 255).astype(np.uint8)
    return lined


def _resized(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    # Enlarged pixels stay pixels; a reduced picture is smoothed.
    rule = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize(size, rule))


def _heading(prompt: str, choice: Choice, width: int) -> NDArray[np.uint8]:
    lines = [(prompt, font(20, bold=True)), *((line, font(14)) for line in _wrapped(choice, width))]
    canvas = Image.new("RGB", (width, 2 * GAP_PX + 26 * len(lines)), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (line, text_font) in enumerate(lines):
        draw.text(
            (GAP_PX, GAP_PX + 26 * index + 20), line, fill="#222222", font=text_font, anchor="ls"
        )
    return np.asarray(canvas)


def _wrapped(choice: Choice, width: int) -> list[str]:
    """Break the reason into lines that fit."""
    lines: list[str] = []
    current = ""
    for word in choice.why.split():
        longer = f"{current} {word}".strip()
        if current and font(14).getlength(longer) > width - 2 * GAP_PX:
            lines.append(current)
            longer = word
        current = longer
    return [*lines, current]


def _widened(row: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
