"""Selections: which Gaussians, how they were chosen, and of which scene.

A file of selections (`gradiseg select`) is a NumPy archive: `made` (JSON: of every name how it was
chosen, the scene's fingerprint and its number of Gaussians) and the rows of each, `rows_<k>` uint32
in the order of `made`. It is read for the scene of the same fingerprint only.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.trained import TrainedScene

_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Selection:
    """Some Gaussians of a scene.

    ``a & b``, ``a | b`` and ``~a`` are what two share, both together, and the rest.

    Attributes:
        mask: [N] bool.
        made: How it was chosen, as JSON types.
        fingerprint: Of the scene.
    """

    mask: NDArray[np.bool_]
    made: Any
    fingerprint: str

    @property
    def rows(self) -> NDArray[np.int64]:
        """Indices of the Gaussians, ascending."""
        return np.flatnonzero(self.mask)

    def __len__(self) -> int:
        return int(self.mask.sum())

    def __and__(self, other: Selection) -> Selection:
        return self._with(other, self.mask & self._fits(other), "all")

    def __or__(self, other: Selection) -> Selection:
        return self._with(other, self.mask | self._fits(other), "any")

    def __invert__(self) -> Selection:
        return replace(self, mask=~self.mask, made={"without": self.made})

    def _with(self, other: Selection, mask: NDArray[np.bool_], how: str) -> Selection:
        return replace(self, mask=mask, made={how: [self.made, other.made]})

    def _fits(self, other: Selection) -> NDArray[np.bool_]:
        if other.fingerprint != self.fingerprint:
            raise ValueError("the selections are of different scenes; select again in one of them")
        return other.mask


def fingerprint(trained: TrainedScene) -> str:
    """Return what tells a scene from another one: a hash of its Gaussians and classifier."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("means", "quats", "scales", "opacities", "sh0", "shN", "identities"):
        digest.update(getattr(trained, name).detach().cpu().contiguous().numpy().data)
    for value in (trained.classifier.weight, trained.classifier.bias):
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def save_selections(path: Path, selections: Mapping[str, Selection]) -> None:
    """Write named selections of one scene to one file.

    Raises:
        ValueError: If they are of different scenes, or there is none.
    """
    scenes = {(entry.fingerprint, len(entry.mask)) for entry in selections.values()}
    if len(scenes) != 1:
        raise ValueError(f"a file holds selections of one scene, got those of {len(scenes)}")
    (scene, count), *_ = scenes
    made = {
        "scene": scene,
        "num_gaussians": count,
        "selections": {name: entry.made for name, entry in selections.items()},
    }
    arrays: dict[str, NDArray] = {
        f"rows_{index}": entry.rows.astype(np.uint32)
        for index, entry in enumerate(selections.values())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, made=np.array(json.dumps(made)), **arrays)


def load_selections(path: Path, scene: str) -> dict[str, Selection]:
    """Read :func:`save_selections`'s file.

    Args:
        path: The file.
        scene: Fingerprint of the scene that they must be of.

    Raises:
        InputError: If the file is missing, damaged, or of another scene.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            made = json.loads(str(file["made"]))
            found = {}
            for index, (name, how) in enumerate(made["selections"].items()):
                mask = np.zeros(int(made["num_gaussians"]), bool)
                mask[file[f"rows_{index}"]] = True
                found[name] = Selection(mask, how, made["scene"])
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such file of selections; `gradiseg select` makes one"
        ) from error
    except (*_DAMAGED, KeyError, IndexError, TypeError, AttributeError) as error:
        why = getattr(error, "strerror", None)
        raise InputError(
            f"{path} {f'cannot be read ({why})' if why else 'is no file of selections, or damaged'}"
            "; `gradiseg select` makes one"
        ) from error
    if made["scene"] != scene:
        raise InputError(
            f"{path} holds selections of another scene: its Gaussians were trained or edited since;"
            " select again, as with `gradiseg select`"
        )
    return found
