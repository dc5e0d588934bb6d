"""Two units of iterations: what is scaled with the run goes through its schedule, and nothing else.

Every field of the first unit is given a number of its own and must be seen by the run's `Schedule`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gradiseg_core.config import docs
from gradiseg_core.config.base import ITERATIONS, OF_30_000
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.splatting.parts import Schedule
from gradiseg_core.stages.training.stage import Training, train
from tests.synthetic import write_scene

#: What switches on the parts of training that wait for an option.
EVERYTHING_ON: dict[str, Any] = {
    "num_classes": "auto",
    "densification": {"max_gaussians": 700},
    "losses": {"samples": 50, "robustness": 0.5},
    "near_pruning": {"ratio": 1.0},
}


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        below = docs._section(field)
        if below is None:
            yield prefix + name, field
        else:
            yield from fields(below, f"{prefix}{name}.")


def unit(field: FieldInfo) -> str | None:
    extra = field.json_schema_extra
    found = extra.get("unit") if isinstance(extra, dict) else None
    return None if found is None else str(found)


SCALED = [key for key, field in fields(TrainConfig) if unit(field) == OF_30_000]
REAL = [key for key, field in fields(TrainConfig) if unit(field) == ITERATIONS]


def numbers() -> dict[str, int]:
    """A number for every field in which iterations are counted, all different.

    Everything starts early and ends late, so that nothing is passed over.
    """
    chosen = {}
    for index, key in enumerate(SCALED):
        late, interval = key.endswith("until"), key.endswith("every")
        chosen[key] = (29_000 if late else 300 if interval else 1000) + index
    for index, key in enumerate(REAL):
        chosen[key] = 7 + index
    return chosen | {"iterations": 25}


def configuration(chosen: dict[str, int]) -> TrainConfig:
    values: dict[str, Any] = dict(EVERYTHING_ON)
    for key, number in chosen.items():
        *parents, name = key.split(".")
        place = values
        for parent in parents:
            place[parent] = place = dict(place.get(parent) or {})
        place[name] = number
    return TrainConfig(**values)


def test_every_number_of_iterations_has_one_of_the_two_units() -> None:
    counting = re.compile(r"(^|[._])(start|until|every|refresh|iterations)")
    named = {key for key, _ in fields(TrainConfig) if counting.search(key)}
    assert named - {*SCALED, *REAL} == set()
    assert {"igd.start", "densification.opacity_reset_every", "near_pruning.start"} <= set(SCALED)
    assert {"losses.spatial_every", "log_every", "checkpoint_every"} <= set(REAL)


def test_what_is_scaled_goes_through_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()

    def watched(method: Any) -> Any:
        def call(self: Schedule, step: int, number: int) -> Any:
            seen.add(number)
            return method(self, step, number)

        return call

    for name in ("after", "before", "count", "due"):
        monkeypatch.setattr(Schedule, name, watched(getattr(Schedule, name)))
    chosen = numbers()
    assert len(set(chosen.values())) == len(chosen)
    scene = write_scene(tmp_path)
    train(
        Training(
            *scene,
            configuration(chosen),
            variant="everything",
            seed=0,
            threads=1,
            checkpoint_dir=tmp_path / "work",
        ),
        tmp_path / "out",
    )
    assert [key for key in SCALED if chosen[key] not in seen] == []
    assert [key for key in REAL if chosen[key] in seen] == []
