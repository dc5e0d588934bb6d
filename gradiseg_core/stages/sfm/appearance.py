"""Which photographs look alike, for pairs that are worth matching in a large set.

Every photograph is described by a VLAD vector (Jegou et al., "Aggregating local descriptors into a
compact image representation", CVPR 2010) of its largest SIFT features. The visual words come from
the photographs themselves (k-means), so that no vocabulary has to be downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WORDS = 64
_OF_AN_IMAGE = 2000  # largest features
_LEARNED_FROM = 30_000  # features of all images together
_ROUNDS = 15


def alike(database: Path, nearest: int, *, seed: int) -> list[tuple[int, int]]:
    """Return the pairs of IDs of each image with those that look most like it.

    Args:
        database: COLMAP's database with features.
        nearest: Partners of each image.
        seed: Seed of k-means.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        ids, described = [], []
        for image in sorted(db.read_all_images(), key=lambda image: image.image_id):
            if not db.num_descriptors_for_image(image.image_id):
                continue
            features = db.read_descriptors(image.image_id).data
            points = np.asarray(db.read_keypoints(image.image_id))
            size = np.abs(points[:, 2] * points[:, 5] - points[:, 3] * points[:, 4])
            largest = np.argsort(-size, kind="stable")[:_OF_AN_IMAGE]
            ids.append(image.image_id)
            described.append(np.asarray(features)[largest])
    finally:
        db.close()
    if len(ids) < 2:
        return []
    near = neighbours(described, nearest, seed=seed)
    return sorted(
        {(min(a, ids[b]), max(a, ids[b])) for a, row in zip(ids, near, strict=True) for b in row}
    )


def neighbours(described: list[NDArray[np.uint8]], nearest: int, *, seed: int) -> NDArray[np.int64]:
    """Return for each image the indices of those most like it, [n, nearest], the best first.

    Args:
        described: Descriptors [k, 128] of each image.
        nearest: Most neighbours of an image.
        seed: Seed of k-means.
    """
    rng = np.random.default_rng(seed)
    each = max(1, _LEARNED_FROM // len(described))
    sample = np.concatenate([d[np.sort(rng.permutation(len(d))[:each])] for d in described]).astype(
        np.float32
    )
    words = _learn(sample, min(_WORDS, len(sample)), rng)
    vectors = np.stack([_vlad(d.astype(np.float32), words) for d in described])
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, : min(nearest, len(described) - 1)]


def _learn(
    sample: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    words = sample[np.sort(rng.permutation(len(sample))[:count])].copy()
    for _ in range(_ROUNDS):
        chosen = _nearest_word(sample, words)
        for index in np.unique(chosen):
            words[index] = sample[chosen == index].mean(axis=0)
    return words


def _nearest_word(features: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.argmin((words**2).sum(axis=1) - 2 * features @ words.T, axis=1)


def _vlad(features: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float32]:
    chosen = _nearest_word(features, words)
    vector = np.zeros_like(words)
    np.add.at(vector, chosen, features - words[chosen])
    # Normalised within each word, then as a whole, so that no repeated pattern prevails.
    vector /= np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-6)
    return (vector / max(float(np.linalg.norm(vector)), 1e-6)).ravel()
