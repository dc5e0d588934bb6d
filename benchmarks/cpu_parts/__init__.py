"""What ``benchmarks/cpu.py`` measures: every module here exposes ``PARTS: list[Part]``."""
