"""All mistakes of a configuration at once, also those that show only once others are mended.

A configuration is checked in steps, each of which needs what the ones before it found right: a list
of variants is compared with those that there are, whose definitions must be valid. So what is known
to be wrong is taken out, and the rest checked again, until nothing more is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from gradiseg_core.errors import ConfigError

_MOST_ROUNDS = 8


class InvalidConfigError(ConfigError):
    """A configuration that is not valid.

    Attributes:
        problems: A line each, which begins with the key.
    """

    def __init__(self, problems: list[str]) -> None:
        """Set up."""
        self.problems = list(dict.fromkeys(problems))
        super().__init__("the configuration is not valid:\n  " + "\n  ".join(self.problems))


def refused(problems: list[str]) -> None:
    """Refuse a configuration that has problems.

    Args:
        problems: A line each, which begins with the key.

    Raises:
        InvalidConfigError: If there are any.
    """
    if problems:
        raise InvalidConfigError(problems)


def with_others(
    first: InvalidConfigError, raw: Mapping[str, Any], check: Callable[[Mapping[str, Any]], object]
) -> InvalidConfigError:
    """Return an error with what else is wrong with a configuration.

    Args:
        first: What was found first.
        raw: The parsed file.
        check: Raises what is found first.
    """
    problems, known = list(first.problems), _keys(first.problems)
    rest, new = raw, known
    for _ in range(_MOST_ROUNDS):
        rest, some = _without(rest, new)
        if not some:
            break
        try:
            check(rest)
            break
        except InvalidConfigError as error:
            new = _keys(error.problems)
            # What is above or below a key that was taken out may be wrong because of that.
            problems += [
                line
                for line in error.problems
                if not any(_near(key, other) for key in _keys([line]) for other in known)
            ]
            known = [*known, *new]
        except Exception:  # the rest alone may be what no check expects; the first problems stand
            break
    return InvalidConfigError(problems)


def _keys(lines: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the paths of the keys that lines begin with, of a list's item that of the list.

    Of parts that conflict a line names both: `train.igd.start and scenes.a.train.igd.until: ...`.
    """
    written = [name for line in lines for name in line.partition(": ")[0].split(" and ")]
    return [tuple(re.sub(r"\[\d+\].*", "", name).split(".")) for name in written]


def _near(key: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether a key is above or below another, a scene's like those of the whole file."""
    if (key[0] == "scenes") != (other[0] == "scenes"):
        key, other = (one[2:] if one[0] == "scenes" else one for one in (key, other))
    length = min(len(key), len(other))
    return length > 0 and key[:length] == other[:length]


def _without(raw: Mapping[str, Any], keys: list[tuple[str, ...]]) -> tuple[Mapping[str, Any], bool]:
    """Return a file without some keys, and whether it changed.

    Of a key that is not there, which is wrong because it is missing, what is above it goes.
    """
    rest: dict[str, Any] = deepcopy(dict(raw))
    some = False
    for key in keys:
        holder: Any = rest
        for part, below in zip(key, (*key[1:], None), strict=True):
            if part not in holder:
                break
            inner = holder[part]
            if below is None or not isinstance(inner, dict) or below not in inner:
                del holder[part]
                some = True
                break
            holder = inner
    return rest, some
