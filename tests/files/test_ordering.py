"""The order of views by name."""

from __future__ import annotations

import random
import string

from gradiseg_core.files.manifest import in_order


def test_numbers_count_by_value() -> None:
    names = [f"{index}.jpg" for index in range(1, 15)]
    shuffled = random.Random(0).sample(names, len(names))
    assert in_order(shuffled) == names
    assert in_order(["b2-10", "b2-9", "b10-1", "a99"]) == ["a99", "b2-9", "b2-10", "b10-1"]
    assert in_order(["1", "01", "2", "001"]) == ["001", "01", "1", "2"]
    assert in_order(["9" * 400 + "1", "9" * 400 + "0", "8" * 401]) == [
        "8" * 401, "9" * 400 + "0", "9" * 400 + "1"
    ]  # fmt: skip


def test_the_order_of_characters_where_numbers_have_equal_length() -> None:
    draw = random.Random(1)
    signs = "-_.: /()" + string.ascii_letters + "äß²"
    names = set()
    while len(names) < 400:
        # One to three signs, then always a number of two digits: no two differ in length.
        parts = [draw.choice(signs) + f"{draw.randrange(100):02d}" for _ in range(3)]
        names.add("".join(parts[: draw.randrange(1, 4)]) + draw.choice(["", ".jpg"]))
    assert in_order(names) == sorted(names)
    few = ["", "A1.jpg", "a-1.jpg", "a.jpg", "a1.jpg", "a_1.jpg", "frame.jpg", "frame1.jpg"]
    assert in_order(reversed(few)) == few == sorted(few)
