"""A tiny Grounding DINO with random weights, saved as a folder in transformers' format."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = (
    "red", "green", "blue", "ball", "a", "the", "apple", "toy", "chair", "hat", "egg", "of", "with",
)  # fmt: skip


def save(folder: Path, *, seed: int = 0, max_text_len: int = 24) -> Path:
    """Write model, image processor and a tokenizer of :data:`WORDS`; return the folder."""
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    # The four special tokens lie where BERT's vocabulary has them in the published models: 101,
    # 102, 1012 (.) and 1029 (?); the model looks for those numbers.
    vocabulary = [f"[unused{index}]" for index in range(1030)]
    vocabulary[0], vocabulary[100], vocabulary[103] = "[PAD]", "[UNK]", "[MASK]"
    vocabulary[101], vocabulary[102], vocabulary[1012], vocabulary[1029] = (
        "[CLS]",
        "[SEP]",
        ".",
        "?",
    )
    for index, word in enumerate(WORDS):
        vocabulary[200 + index] = word
    words = folder / "vocab.txt"
    words.write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(
        vocab={word: index for index, word in enumerate(vocabulary)}, do_lower_case=True
    )
    tokenizer.model_max_length = max_text_len

    torch.manual_seed(seed)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "image_size": 64,
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "window_size": 4,
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": len(vocabulary),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": max_text_len,
        },
        num_queries=10,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        max_text_len=max_text_len,
    )
    model = GroundingDinoForObjectDetection(config).eval()
    model.save_pretrained(folder, safe_serialization=True)
    GroundingDinoProcessor(GroundingDinoImageProcessor(), tokenizer).save_pretrained(folder)
    return folder
