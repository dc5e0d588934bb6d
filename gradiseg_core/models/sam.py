"""Loads Segment Anything from its checkpoint file.

Kirillov et al., "Segment Anything" (ICCV 2023), through the package `segment-anything`. Its own
builders read a checkpoint with whatever unpickling the installed PyTorch defaults to; here they
build the empty network only, and the file is read by PyTorch's loader for tensors and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.models.weights import load_checkpoint

if TYPE_CHECKING:
    import torch

#: The first side of this tensor, the width of the image encoder, tells the architectures apart.
_WIDTH_KEY = "image_encoder.patch_embed.proj.weight"
_ARCHITECTURE_OF_WIDTH = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def require_segment_anything(key: str) -> None:
    """Check that SAM's packages are installed.

    Args:
        key: Key of the configuration that asked for it, for the message.

    Raises:
        BackendUnavailableError: If one of them is missing.
    """
    try:
        import segment_anything  # noqa: F401
    except ImportError as error:
        raise BackendUnavailableError(
            f"{key}: SAM needs the packages segment-anything, torch and torchvision, but "
            f"{error.name or error} cannot be imported; run `pip install -e '.[models]'`, or "
            "start Snakemake with `--sdm conda`"
        ) from error


def load_sam(architecture: str, checkpoint: Path, device: torch.device, *, key: str) -> Any:
    """Return SAM with the weights of a checkpoint, ready to predict.

    Args:
        architecture: `vit_h`, `vit_l` or `vit_b`.
        checkpoint: A file of SAM's authors or one of the same form: a dictionary of tensors.
        device: Where the model is put.
        key: Section of the configuration that named the model, for messages.

    Returns:
        A `segment_anything.modeling.Sam` in evaluation mode, without gradients.

    Raises:
        BackendUnavailableError: If a package is missing.
        InputError: If the file is missing, is not a checkpoint, or has another architecture.
    """
    require_segment_anything(key)
    from segment_anything import sam_model_registry

    state = load_checkpoint(Path(checkpoint), key=f"{key}.checkpoint")
    model = sam_model_registry[architecture]()  # without a file: random weights, replaced below
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(_mismatch(architecture, checkpoint, state, key, str(error))) from error
    return model.to(device).eval().requires_grad_(False)


def _mismatch(architecture: str, path: Path, state: dict[str, Any], key: str, problem: str) -> str:
    width = state[_WIDTH_KEY].shape[0] if _WIDTH_KEY in state else None
    found = _ARCHITECTURE_OF_WIDTH.get(width) if width is not None else None
    if found is not None and found != architecture:
        return (
            f"{key}.model is {architecture}, but {path} holds the weights of {found}; set "
            f"`{key}.model: {found}` or give the checkpoint of {architecture}"
        )
    if width is None:
        return (
            f"{key}.checkpoint: {path} is not a checkpoint of SAM's {architecture}: it has no "
            f"tensor {_WIDTH_KEY} (SAM 2, MobileSAM and others have their own files)"
        )
    lines = [line.strip() for line in problem.splitlines()[1:3]]
    return f"{key}.checkpoint: {path} does not fit SAM's {architecture}: {' '.join(lines)}"
