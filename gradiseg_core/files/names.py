"""What the objects of a trained scene are called, and how they look: ``grounding/names.json``.

::

    {"prompts": {"white teapot": [1], "purple book": [3, 12]},
     "objects": [{"id": 1, "name": "white teapot", "thumbnail": "objects/1.png"}, ...]}

``prompts``: the IDs of each prompt. ``objects``: by ID, every object that tracking found, and what
else a prompt selected, without 0, the background. ``name`` is null where no prompt means the
object; of several prompts, the one with the fewest IDs names it. ``thumbnail`` is the path of a
picture below the scene's tracking folder, null without one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gradiseg_core.errors import InputError

FILE_NAME = "names.json"


@dataclass(frozen=True)
class NamedObject:
    """An ID, what it is called, and where its picture is.

    Attributes:
        id: ID.
        name: The prompt that means it; None without one.
        thumbnail: Path of a picture below the tracking folder; None without one.
    """

    id: int
    name: str | None = None
    thumbnail: str | None = None


@dataclass(frozen=True)
class Names:
    """The contents of ``names.json``.

    Attributes:
        prompts: IDs by prompt.
        objects: By ID.
    """

    prompts: Mapping[str, Sequence[int]]
    objects: tuple[NamedObject, ...]

    @classmethod
    def of(
        cls, prompts: Mapping[str, Sequence[int]], thumbnails: Mapping[int, str | None]
    ) -> Names:
        """Name objects by prompts.

        Args:
            prompts: IDs by prompt.
            thumbnails: By ID, of all objects that tracking gave.
        """
        names = names_of_ids(prompts)
        ids = sorted({*thumbnails, *names} - {0})
        return cls(prompts, tuple(NamedObject(i, names.get(i), thumbnails.get(i)) for i in ids))

    def save(self, folder: Path) -> None:
        """Write ``folder/names.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Names:
        """Read ``folder/names.json``.

        Raises:
            InputError: If it is missing or not in that form.
        """
        path = folder / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            objects = tuple(NamedObject(**entry) for entry in content["objects"])
            return cls(content["prompts"], objects)
        except FileNotFoundError as error:
            raise InputError(f"{path} not found; run the grounding stage again") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is not in the expected form ({error!r}); run the grounding stage again"
            ) from error


def names_of_ids(prompts: Mapping[str, Sequence[int]]) -> dict[int, str]:
    """Return one name for every ID that a prompt has: of several prompts, the most specific one's.

    Args:
        prompts: IDs by prompt. The prompt with the fewest IDs is the most specific; of several
            such, the first.
    """
    names: dict[int, str] = {}
    for prompt, ids in sorted(prompts.items(), key=lambda item: len(item[1])):
        for index in ids:
            names.setdefault(index, prompt)
    return names
