"""Further IDs in a trained scene's classifier, for copies and for what comes from elsewhere.

Notation: encodings e_i [D], classifier weights w_c and biases b_c. A new class n gets a direction u
that is far from those of all encodings, the encoding e_n = r u for all of its Gaussians, and
w_n = s u, b_n = -s t. Its logit is s (u e - t): at most s (m - t) < 0 for encodings that go m along
u, and s (r - t) at e_n. All new encodings have one length r, twice the longest trained one: points
on a sphere can each be cut off by a plane, and numbers do not grow from copy to copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.config.edits import RESERVED
from gradiseg_core.editing.objects import check_free, free_name
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.losses.identity import IdentityClassifier

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene

_TRIALS = 256
#: By how much a class wins where it should, logits.
_MARGIN = 20.0
#: float32 tells classes of larger logits than this no more.
_LARGEST_LOGIT = 1e5
#: How often the length of new encodings is doubled where there is no room on their sphere.
_DOUBLINGS = 6
#: An ID is a thing of its own where a selection holds this share of it, or makes this share of the
#: selection; the rest is the fringe of the largest.
_OWN_SHARE, _FRINGE = 0.5, 0.05


def things(ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return the things that a selection holds: their IDs and Gaussians, the largest first.

    Args:
        ids: [N] most probable IDs of the scene.
        mask: [N], the selection; not empty.

    Returns:
        ID and Gaussians [N] of each; together they are the selection. The fringe, IDs of which the
        selection has a part alone, belongs to the largest.
    """
    counts = np.bincount(ids[mask])
    share = counts / np.maximum(np.bincount(ids, minlength=len(counts))[: len(counts)], 1)
    found = [
        int(index)
        for index in np.argsort(-counts, kind="stable")
        if counts[index] and (share[index] >= _OWN_SHARE or counts[index] >= _FRINGE * mask.sum())
    ]
    found = found or [int(counts.argmax())]
    first = mask & ~np.isin(ids, found[1:])
    return [(found[0], first), *((index, mask & (ids == index)) for index in found[1:])]


def as_new(
    scene: Scene,
    values: dict[str, Tensor],
    ids: list[tuple[int, NDArray[np.bool_]]],
    names: Mapping[int, str],
    called: str | None,
) -> tuple[Scene, dict[str, Any]]:
    """Return the scene with Gaussians that become objects of their own, and their new IDs by name.

    Args:
        scene: Where they come to.
        values: Parameters, [n, ...]; encodings are replaced.
        ids: What they were: ID and Gaussians, [n], of each thing, the largest first.
        names: What these IDs were called.
        called: What the largest is called now, background last; None: its name, with a number.

    Raises:
        InputError: If the name is taken, or the encodings have no room for so many IDs.
    """
    classifier, like = scene.trained.classifier, scene.trained.identities
    known = dict(scene.trained.metadata.get("names", {}))
    if called is not None:
        check_free(called, [int(index) for index in np.unique(scene.ids)], scene.prompts)
    length = _length(scene, known)
    encodings = like.new_zeros(len(values["means"]), like.shape[1])
    expected = np.empty(len(encodings), np.int64)
    main = next((index for index, _ in ids if index > 0), ids[0][0])
    own: list[Tensor] = []
    new: dict[str, list[int]] = {}
    for position, (index, rows) in enumerate(ids):
        classifier, number, encoding = with_new_class(
            classifier, torch.cat([like, *own]), seed=position, length=length
        )
        own.append(encoding[None])
        encodings[torch.from_numpy(rows).to(like.device)] = encoding
        expected[rows] = number
        taken = {*scene.prompts, *known, *new, *RESERVED, *([called] if called else [])}
        first = called if index == main else None
        new[first or free_name(names[index], taken)] = [number]
    added = scene.joined(
        values | {"identities": encodings}, classifier=classifier, names=known | new
    )
    if (added.ids[len(scene) :] != expected).any():
        raise _full(scene.trained.classifier)
    return added, {"new_ids": {name: number[0] for name, number in new.items()}}


def _length(scene: Scene, names: Mapping[str, list[int]]) -> float | None:
    """Return twice the longest encoding that training made; None where there is none."""
    added = [index for ids in names.values() for index in ids]
    trained = scene.ids < min(added, default=scene.trained.classifier.num_classes)
    if not trained.any():
        return None
    rows = torch.from_numpy(trained).to(scene.trained.identities.device)
    return 2.0 * float(scene.trained.identities[rows].norm(dim=1).max())


@torch.no_grad()
def with_new_class(
    classifier: IdentityClassifier,
    encodings: Tensor,
    seed: int = 0,
    length: float | None = None,
) -> tuple[IdentityClassifier, int, Tensor]:
    """Return a classifier with one class more, its ID, and the encoding of its Gaussians, [D].

    What other encodings are classified as stays what it was.

    Args:
        classifier: F.
        encodings: [N, D] of all Gaussians that the classifier serves.
        seed: Of the directions that are tried.
        length: r; it is doubled where there is no room. None: twice the longest encoding.

    Raises:
        InputError: If there is no room for one more.
    """
    weight, bias = classifier.weight.data, classifier.bias.data
    generator = torch.Generator().manual_seed(seed)
    tried = torch.randn(_TRIALS, classifier.dim, generator=generator).to(encodings)
    tried = torch.nn.functional.normalize(torch.cat([tried, -weight.to(encodings)]), dim=1)
    farthest, longest, lowest = tried.new_zeros(len(tried)), 0.0, 0.0
    for part in encodings.split(65536):
        farthest = torch.maximum(farthest, (part @ tried.T).amax(dim=0))
        longest = max(longest, float(part.norm(dim=1).max()))
        lowest = min(lowest, float(classifier(part).amax(dim=1).min()))
    radius = max(2.0 * longest if length is None else length, 1e-3)
    for _ in range(_DOUBLINGS + 1):
        # Half of the way, so that pixels half covered change hands, or more where others are near.
        threshold = (farthest + (radius - farthest) / 3).clamp(min=0.5 * radius)
        rival = (radius * tried @ weight.T + bias).amax(dim=1).clamp(min=0)
        here = (rival + _MARGIN) / (radius - threshold)
        elsewhere = (_MARGIN - lowest) / (threshold - farthest)
        steep = torch.maximum(here, elsewhere)
        steep[farthest >= (1 - 1e-3) * radius] = torch.inf
        best = int(steep.argmin())
        if float(steep[best]) * radius <= _LARGEST_LOGIT:
            break
        radius *= 2.0
    else:
        raise _full(classifier)
    grown = IdentityClassifier(classifier.num_classes + 1, classifier.dim).to(weight.device)
    grown.weight.data.copy_(torch.cat([weight, (steep[best] * tried[best])[None]]))
    grown.bias.data.copy_(torch.cat([bias, -(steep[best] * threshold[best])[None]]))
    return grown, classifier.num_classes, radius * tried[best]


def _full(classifier: IdentityClassifier) -> InputError:
    return InputError(
        f"encodings of {classifier.dim} numbers have no room for more than the "
        f"{classifier.num_classes} IDs that this scene has; copy fewer things"
    )
