"""Grounding DINO through transformers: from a picture and a prompt to scored boxes.

Requires transformers, torchvision, and a folder with the model in transformers' format; nothing is
downloaded here, and weights are read from safetensors only.

The steps are those of the model's authors as Gaussian Grouping calls them: the prompt in lower case
with a final stop; the picture resized so that its shorter side has 800 px and its longer side at
most 1333; a box is kept where its best token scores above the box threshold; the tokens above the
text threshold form its phrase, which is recorded and decides nothing.

Source: Liu et al., Grounding DINO (2023); Gaussian Grouping, ``ext/grounded_sam.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.placement import memory_advice
from gradiseg_core.errors import BackendUnavailableError, InputError

if TYPE_CHECKING:
    import torch

    from gradiseg_core.stages.grounding.backends.groundingdino import Options

KEY = "grounding.groundingdino"
#: Tokens that score above this for a box form its phrase (Gaussian Grouping, ext/grounded_sam.py).
TEXT_THRESHOLD = 0.45

#: Files of the folder; of each group one is enough.
_WANTED = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.txt"),
    ("tokenizer_config.json",),
)


@dataclass(frozen=True)
class Detections:
    """Boxes that were found for one prompt in one picture, the best first.

    Attributes:
        boxes: [N, 4] x0, y0, x1, y1, px of the picture; they may reach over its border.
        scores: [N] in 0..1, each above the box threshold.
        phrases: N texts, the prompt's words that each box answers to.
        best_score: The best score of all queries, kept or not.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    phrases: list[str]
    best_score: float


def normalised_prompt(prompt: str) -> str:
    """Return a prompt in the form the model was trained on: lower case, ending with a stop.

    Raises:
        InputError: If it is empty.
    """
    text = prompt.strip().lower()
    if not text.strip(". "):
        raise InputError(f"the prompt {prompt!r} is empty; rename its mask or remove it")
    return text if text.endswith(".") else text + "."


class GroundingDino:
    """The model, loaded.

    Args:
        folder: Model in transformers' format.
        device: Where it runs.
        half: Half precision; needs a device that computes in it.

    Raises:
        BackendUnavailableError: If transformers is not installed or memory does not suffice.
        InputError: If the folder lacks files or holds another model.
    """

    def __init__(self, folder: Path, device: torch.device, *, half: bool = False) -> None:
        import torch

        self.device = device
        self._dtype = torch.float16 if half else torch.float32
        with memory_advice("Grounding DINO", f"set `{KEY}.device: cpu`"):
            self.model, self.processor = _load(Path(folder), self._dtype)
            self.model = self.model.to(device)
        config = self.model.config
        self.max_tokens = min(config.max_text_len, config.text_config.max_position_embeddings)

    def detect(
        self,
        image: NDArray[np.uint8],
        prompt: str,
        options: Options,
    ) -> Detections:
        """Find a prompt in a picture.

        Args:
            image: [H, W, 3] RGB.
            prompt: Any text; see :func:`normalised_prompt`.
            options: Thresholds of boxes and phrases, and the size at which it is searched.

        Raises:
            BackendUnavailableError: If memory does not suffice.
            InputError: If the prompt is empty or too long for the model, or the model's output is
                not finite.
        """
        import torch

        inputs = self._inputs(image, prompt, options)
        with (
            torch.inference_mode(),
            memory_advice("Grounding DINO on one picture", f"lower `{KEY}.longer_side`"),
        ):
            outputs = self.model(**inputs)
        # [Q, T] and [Q, 4]: one row a query, one column a token. Tokens that the prompt does not
        # have are -inf, which is a probability of 0.
        probabilities = outputs.logits[0].float().sigmoid().cpu()
        boxes = outputs.pred_boxes[0].float().cpu()
        scores = probabilities.max(dim=-1).values
        if not (torch.isfinite(probabilities).all() and torch.isfinite(boxes).all()):
            remedy = (
                f"set `{KEY}.half: false`"
                if self._dtype == torch.float16
                else f"check the model in `{KEY}.checkpoint`, or download it again"
            )
            raise InputError(f"Grounding DINO's output for {prompt!r} is not finite; {remedy}")
        order = torch.argsort(-scores, stable=True)
        kept = order[scores[order] > options.box_threshold]
        height, width = image.shape[:2]
        centre, size = boxes[kept, :2], boxes[kept, 2:]
        corners = torch.cat((centre - size / 2, centre + size / 2), dim=-1)
        corners = corners * torch.tensor([width, height, width, height])
        ids = inputs["input_ids"][0].tolist()
        return Detections(
            corners.numpy(),
            scores[kept].numpy(),
            [self._phrase(ids, row > TEXT_THRESHOLD) for row in probabilities[kept]],
            float(scores.max()),
        )

    def _inputs(self, image: NDArray[np.uint8], prompt: str, options: Options) -> dict[str, Any]:
        text = normalised_prompt(prompt)
        tokens = len(self.processor.tokenizer(text, truncation=False)["input_ids"])
        if tokens > self.max_tokens:
            raise InputError(
                f"the prompt {prompt!r} has {tokens} tokens, and Grounding DINO reads at most "
                f"{self.max_tokens}; shorten it"
            )
        batch = self.processor(
            images=image.copy(),  # torch warns of arrays that it cannot write
            text=text,
            return_tensors="pt",
            size={"shortest_edge": options.shorter_side, "longest_edge": options.longer_side},
            input_data_format="channels_last",
        )
        return {
            name: value.to(self.device, self._dtype if value.is_floating_point() else None)
            for name, value in batch.items()
        }

    def _phrase(self, ids: list[int], above: torch.Tensor) -> str:
        tokenizer = self.processor.tokenizer
        chosen = [token for token, wanted in zip(ids, above.tolist(), strict=False) if wanted]
        return tokenizer.decode(chosen, skip_special_tokens=True).replace(".", "").strip()


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        import transformers
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor
    except ImportError as error:
        raise BackendUnavailableError(
            f"{KEY} needs the packages transformers and torchvision, but {error.name or error} "
            "cannot be imported; run `pip install -e '.[models]'`, or start Snakemake with "
            "`--sdm conda`"
        ) from error
    _check_folder(folder)
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.GroundingDinoConfig.from_pretrained(folder, local_files_only=True)
        # The plain PyTorch operations: compiled ones would be fetched from the hub.
        config.disable_custom_kernels = True
        loaded: Any = GroundingDinoForObjectDetection.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, about = loaded
        processor = GroundingDinoProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers and safetensors raise whatever the files trigger
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{KEY}.checkpoint: {folder} cannot be loaded as a Grounding DINO model "
            f"({type(error).__name__}: {reason}); download it again"
        ) from error
    # transformers fills what a file lacks with random numbers and goes on.
    lacking = sorted(map(str, [*about["missing_keys"], *about.get("mismatched_keys", ())]))
    if lacking:
        raise InputError(
            f"{KEY}.checkpoint: {folder} lacks {len(lacking)} of the model's tensors, such as "
            f"{lacking[0]}; download it again"
        )
    return model.eval().requires_grad_(False), processor


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(
            f"{KEY}.checkpoint: no folder {folder}; correct the path, or leave it out to have the "
            "model downloaded"
        )
    missing = [
        " or ".join(names)
        for names in _WANTED
        if not any((folder / name).is_file() for name in names)
    ]
    if missing:
        pickled = any(folder.glob("pytorch_model*.bin"))
        hint = "; pytorch_model.bin is a pickle and is not read" if pickled else ""
        raise InputError(
            f"{KEY}.checkpoint: {folder} is not a model in transformers' format, it lacks "
            f"{', '.join(missing)}{hint}"
        )
    import json

    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind != "grounding-dino":
        raise InputError(
            f"{KEY}.checkpoint: {folder} holds a model of type {kind!r}, not 'grounding-dino'"
        )
