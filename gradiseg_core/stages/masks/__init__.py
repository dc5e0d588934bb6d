"""Class-agnostic segments of single images, the raw material of tracking."""
