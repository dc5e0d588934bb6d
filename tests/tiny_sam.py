"""A tiny SAM with random weights, written as a checkpoint file of SAM's original form."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch


def build(*, seed: int = 0, grid: int = 8, patch: int = 8) -> Any:
    """Return a random ``Sam``: images of ``grid * patch`` px, two blocks, one of them windowed."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    torch.manual_seed(seed)
    dim = 32
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=24,
            img_size=grid * patch,
            mlp_ratio=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=[1],
            window_size=3,
            out_chans=dim,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=dim,
            image_embedding_size=(grid, grid),
            input_image_size=(grid * patch, grid * patch),
            mask_in_chans=4,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=dim, mlp_dim=48, num_heads=8),
            transformer_dim=dim,
            iou_head_depth=3,
            iou_head_hidden_dim=16,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    ).eval()


def save(path: Path, **options: int) -> Path:
    """Write a random model's checkpoint and return its path."""
    torch.save(build(**options).state_dict(), path)
    return path
