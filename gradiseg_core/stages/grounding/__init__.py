"""Grounding: prompts to object IDs, and IDs to masks."""
