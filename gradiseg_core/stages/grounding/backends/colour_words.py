"""Backend ``colour_words``: match the colours that a prompt names with the rendered objects.

It needs no model and no download. It reads only colour words: it cannot tell a red apple from a
red box, and of several red objects it takes the reddest. A prompt without a colour word selects
nothing, and the reason is recorded. Use it to try the pipeline. For real text queries use
``groundingdino``; ``manual`` takes IDs that were chosen by hand.

The score of an ID is the share of its pixels that have the named colour (``colours``), pooled over
the rendered test views; photographs and annotations are never used. Large IDs count as background;
small ones and those at the image border get a lower weight. The best ID wins. IDs of the same
colour that touch it join it, because tracking may have split the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import option
from gradiseg_core.stages.grounding.colours import COLOURS, NamedColour, colour_words, rgb_to_lab
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import Choice

REQUIRES = Requires("evaluate", runtime_min=60)

MIN_AREA_SHARE = 0.0005
"""An ID that covers less than this share of every view is never selected."""
TYPICAL_AREA_SHARE = 0.005
"""An ID's score is weighted by a / (a + this), where a is its share of the view. With a smaller
value specks beat objects, with a larger one small objects lose. Measured on the embedded scene."""
BACKGROUND_IDS = (0,)
"""IDs that are never selected; 0 is what has no label."""
FRAGMENT_CONTACT = 0.2
"""An ID of the same colour joins the best one where more than this share of its outline touches it:
an object that tracking split. Measured on tabletop_breakfast."""
FRAGMENT_SCORE = 0.6
"""A fragment has the colour on at least this share of what the best ID has."""


class Options(BackendOptions):
    """The colours that a prompt names, compared with those of the rendered objects."""

    max_area_share: float = option(
        0.15,
        "IDs that cover more of the views that show them count as background.",
        gt=0,
        le=1,
        source="measured on the embedded scene",
    )
    min_score: float = option(
        0.25,
        "Least share of an object's pixels in the named colour.",
        ge=0,
        le=1,
        source="measured on the embedded scene",
    )


@dataclass(frozen=True)
class RegionColours:
    """Pixels of every ID in the rendered views.

    Attributes:
        labs: CIELAB of all pixels, [P, 3].
        ids: ID of each pixel, [P].
        area_px: [I], pixels of each ID over all views.
        mean_share: [I], mean area share of the ID over the views that show it.
        max_share: [I], largest area share.
        border_share: [I], share of the views that show the ID in which it reaches the image border.
        contact: [I, I], pairs of neighbouring pixels with two different IDs, over all views.
    """

    labs: NDArray[np.float64]
    ids: NDArray[np.int64]
    area_px: NDArray[np.int64]
    mean_share: NDArray[np.float64]
    max_share: NDArray[np.float64]
    border_share: NDArray[np.float64]
    contact: NDArray[np.int64]

    def share(self, colour: NamedColour) -> NDArray[np.float64]:
        """Return [I], the share of each ID's pixels that have the colour."""
        member = np.bincount(
            self.ids, weights=colour.membership(self.labs), minlength=len(self.area_px)
        )
        return member / np.maximum(self.area_px, 1)


def measure_regions(
    views: list[tuple[NDArray[np.uint8], NDArray[np.integer]]],
) -> RegionColours:
    """Gather the colours of all IDs.

    Args:
        views: Rendered colour [H, W, 3] and argmax IDs [H, W] of each view.

    Raises:
        ValueError: If there are no views.
    """
    if not views:
        raise ValueError("colour words need at least one rendered view")
    num_ids = 1 + max(int(ids.max()) for _, ids in views)
    areas = np.stack([np.bincount(ids.ravel(), minlength=num_ids) for _, ids in views])
    shares = areas / np.array([[ids.size] for _, ids in views])
    shown = np.maximum((areas > 0).sum(axis=0), 1)
    at_border = np.stack([np.isin(np.arange(num_ids), _border(ids)) for _, ids in views])
    return RegionColours(
        labs=np.concatenate([rgb_to_lab(color).reshape(-1, 3) for color, _ in views]),
        ids=np.concatenate([ids.ravel().astype(np.int64) for _, ids in views]),
        area_px=areas.sum(axis=0),
        mean_share=shares.sum(axis=0) / shown,
        max_share=shares.max(axis=0),
        border_share=at_border.sum(axis=0) / shown,
        contact=sum(
            (contacts(ids, num_ids) for _, ids in views), np.zeros((num_ids, num_ids), np.int64)
        ),
    )


def _border(ids: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the pixels of an ID map's outermost rows and columns."""
    return np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]])


def contacts(ids: NDArray[np.integer], num_ids: int) -> NDArray[np.int64]:
    """Return [num_ids, num_ids], how often two IDs are 4-neighbours; 0 on the diagonal."""
    table = np.zeros(num_ids * num_ids, dtype=np.int64)
    for first, second in ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1])):
        pairs = first.astype(np.int64) * num_ids + second
        table += np.bincount(pairs.ravel(), minlength=len(table))
    square = table.reshape(num_ids, num_ids)
    square = square + square.T
    np.fill_diagonal(square, 0)
    return square


def score_ids(regions: RegionColours, colours: list[NamedColour]) -> NDArray[np.float64]:
    """Return [I], how well each ID's pixels show the colours, 0..1.

    For one colour: the share of pixels that have it. For n colours each is expected on 1/n of the
    pixels, and the score is the geometric mean of how far each is fulfilled, so that every colour
    must occur.
    """
    parts = [np.minimum(1.0, len(colours) * regions.share(colour)) for colour in colours]
    return np.prod(np.stack(parts), axis=0) ** (1.0 / len(parts))


def choose(
    prompt: str,
    regions: RegionColours,
    *,
    max_area_share: float,
    min_score: float,
) -> Choice:
    """Choose the ID whose colour fits a prompt best, and its fragments.

    The numbers are those of :class:`Options`.
    """
    words = colour_words(prompt)
    if not words:
        known = ", ".join(COLOURS)
        return Choice([], f"the prompt names no colour (known: {known}); use grounding 'manual'")
    names = [name for name, _ in words]
    scores = score_ids(regions, [colour for _, colour in words])
    # A speck may be purely of one colour; an object of its colour should still win. What reaches
    # the image border in most views is more often the room than a thing in it.
    rank = scores * regions.mean_share / (regions.mean_share + TYPICAL_AREA_SHARE)
    rank = rank * (1.0 - 0.5 * regions.border_share)
    rank[(regions.max_share < MIN_AREA_SHARE) | (regions.mean_share > max_area_share)] = -1.0
    rank[[index for index in BACKGROUND_IDS if index < len(rank)]] = -1.0
    order = np.argsort(-rank, kind="stable")
    candidates: list[dict[str, Any]] = [
        {
            "id": int(index),
            "score": round(float(scores[index]), 4),
            "area_share": round(float(regions.mean_share[index]), 5),
        }
        for index in order[:3]
        if rank[index] >= 0
    ]
    details = {"colours": names, "candidates": candidates}
    wanted = " and ".join(names)
    if not candidates or candidates[0]["score"] < min_score:
        return Choice(
            [], f"no rendered object is {wanted} enough (score below {min_score})", details
        )
    best = candidates[0]
    ids = _with_fragments([best["id"]], regions, scores, rank, max_area_share)
    why = f"of all rendered objects the one that is most {wanted} (score {best['score']:.2f})"
    if len(ids) > 1:
        why += f", and {len(ids) - 1} of the same colour that touch it"
    return Choice(ids, why, details)


def _with_fragments(
    ids: list[int],
    regions: RegionColours,
    scores: NDArray[np.float64],
    rank: NDArray[np.float64],
    max_area_share: float,
) -> list[int]:
    """Add IDs of the colour whose outline runs along the selected ones, the closest first."""
    chosen = list(ids)
    outline = np.maximum(regions.contact.sum(axis=1), 1)
    alike = (rank >= 0) & (scores >= FRAGMENT_SCORE * scores[ids[0]])
    alike[ids] = False
    while alike.any():
        share = np.where(alike, regions.contact[:, chosen].sum(axis=1) / outline, -1.0)
        best = int(share.argmax())
        alike[best] = False
        if share[best] < FRAGMENT_CONTACT:
            break
        if regions.mean_share[[*chosen, best]].sum() <= max_area_share:
            chosen.append(best)
    return chosen


def run(request: Request) -> dict[str, Choice]:
    """Choose IDs for every prompt of the scene by its colour words."""
    regions = measure_regions(
        [(request.picture(view), request.test_ids(view)) for view in request.views]
    )
    options: Options = request.options
    return {
        prompt: choose(
            prompt,
            regions,
            max_area_share=options.max_area_share,
            min_score=options.min_score,
        )
        for prompt in request.manifest.prompts
    }
