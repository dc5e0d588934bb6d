"""A small stand-in for the classes of DEVA that the backend uses.

Written against the contract of those classes, as their callers see it; it tracks nothing: an object
stays where it was detected. `install` puts it into `sys.modules` under the real names.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import torch


class ObjectInfo:
    def __init__(self, id: int, category_id: Any = None, isthing: Any = None, score: Any = None):
        self.id = id
        self.scores = [score]


class FrameInfo:
    def __init__(self, image: Any, mask: Any, segments_info: Any, ti: int, info: dict):
        self.image, self.mask, self.segments_info = image, mask, segments_info
        self.ti, self.info = ti, info


class Network(torch.nn.Module):
    """Two encoders, which load ImageNet's weights unless told not to, and one number."""

    def __init__(self, config: dict):
        super().__init__()
        resnet = sys.modules["deva.model.resnet"]
        self.pixel_encoder = resnet.resnet50(pretrained=True)
        self.mask_encoder = resnet.resnet18(pretrained=True, extra_dim=1)
        self.level = torch.nn.Parameter(torch.zeros(config["value_dim"]))

    def load_weights(self, state: dict) -> None:
        self.load_state_dict(state)


def _resnet(pretrained: bool = True, extra_dim: int = 0) -> torch.nn.Module:
    if pretrained:
        sys.modules["deva.model.resnet"].model_zoo.load_url("resnet")
    return torch.nn.Conv2d(3 + extra_dim, 1, 1)


class _Objects:
    """Objects by channel; IDs are never used twice."""

    def __init__(self) -> None:
        self.tmp_id_to_obj: dict[int, ObjectInfo] = {}
        self.all_historical_object_ids: set[int] = set()
        self.use_long_id = False

    def add(self) -> None:
        # Two objects whose long IDs are alike in their lowest byte follow each other.
        count = len(self.all_historical_object_ids)
        number = 300 + (count // 2) * 7 + (count % 2) * 256 * 41
        assert self.use_long_id, "short IDs wrap"
        assert number not in self.all_historical_object_ids
        self.tmp_id_to_obj[len(self.tmp_id_to_obj) + 1] = ObjectInfo(number)
        self.all_historical_object_ids.add(number)


class DEVAInferenceCore:
    """Keeps the last mask, one channel an object."""

    def __init__(self, network: Any, config: dict, *, image_feature_store: Any = None):
        self.network, self.config = network, config
        self.curr_ti = -1
        self.memory = types.SimpleNamespace(engaged=False)
        self.object_manager = _Objects()
        self.last_mask: torch.Tensor | None = None  # [n, h, w]
        self.frame_buffer: list[FrameInfo] = []
        self.features: set[int] = set()

    def enabled_long_id(self) -> None:
        self.object_manager.use_long_id = True

    def add_to_temporary_buffer(self, frame: FrameInfo) -> None:
        self.frame_buffer.append(frame)

    def vote_in_temporary_buffer(self, keyframe_selection: str = "first") -> tuple:
        """Keep the first frame's segments that most frames of the buffer show at their place."""
        assert keyframe_selection == "first"
        first = self.frame_buffer[0]
        mask, infos = torch.zeros_like(first.mask), []
        for info in first.segments_info:
            own = first.mask == info.id
            votes = sum(
                any(
                    ((frame.mask == other.id) & own).sum()
                    > 0.5 * ((frame.mask == other.id) | own).sum()
                    for other in frame.segments_info
                )
                for frame in self.frame_buffer
            )
            if 2 * votes > len(self.frame_buffer):
                infos.append(ObjectInfo(len(infos) + 1))
                mask[own] = len(infos)
        self.features |= {frame.ti for frame in self.frame_buffer}
        return first.ti, mask, infos

    def incorporate_detection(
        self, image: Any, new_mask: Any, segments_info: list, *, incremental: bool = False
    ) -> torch.Tensor:
        """Take every segment that is not tracked as a new object."""
        self.curr_ti += 1
        masks = [] if self.last_mask is None else list(self.last_mask)
        for info in segments_info:
            own = (new_mask == info.id).float()
            alike = [(own * old).sum() > 0.5 * own.sum() for old in masks]
            if any(alike):
                masks[alike.index(True)] = own
            else:
                self.object_manager.add()
                masks.append(own)
        if masks:
            self.memory.engaged = True
            self.last_mask = torch.stack(masks)
        self.features.discard(self.curr_ti)
        return self._scores(image)

    def step(
        self, image: Any, mask: Any = None, objects: Any = None, *, hard_mask: bool = True,
        end: bool = False, image_ti_override: int | None = None, delete_buffer: bool = True,
    ) -> torch.Tensor:  # fmt: skip
        assert mask is None
        assert objects is None
        self.curr_ti += 1
        index = self.curr_ti if image_ti_override is None else image_ti_override
        (self.features.discard if delete_buffer else self.features.add)(index)
        return self._scores(image)

    def clear_buffer(self) -> None:
        self.features -= {frame.ti for frame in self.frame_buffer}
        self.frame_buffer = []

    def _scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return [1 + n, h, w] with what no object covers first."""
        size = image.shape[-2:]
        masks = torch.zeros((0, *size)) if self.last_mask is None else self.last_mask
        assert masks.shape[-2:] == size
        return torch.cat([0.5 * torch.ones((1, *size)), masks])


def install(monkeypatch: Any) -> None:
    """Make `import deva...` find these classes; a download of weights fails."""

    def no_network(*_: Any) -> Iterator[Any]:
        raise AssertionError("weights that a checkpoint replaces were downloaded")

    members: dict[str, dict[str, Any]] = {
        "deva": {},
        "deva.inference": {},
        "deva.inference.inference_core": {"DEVAInferenceCore": DEVAInferenceCore},
        "deva.inference.frame_utils": {"FrameInfo": FrameInfo},
        "deva.inference.object_info": {"ObjectInfo": ObjectInfo},
        "deva.model": {},
        "deva.model.network": {"DEVA": Network},
        "deva.model.resnet": {
            "resnet18": _resnet,
            "resnet50": _resnet,
            "model_zoo": types.SimpleNamespace(load_url=no_network),
        },
    }
    for name, content in members.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
