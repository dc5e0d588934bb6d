"""All mistakes of a configuration at once, also those that show only once others are mended.

A configuration is checked in steps, each of which needs what the ones before it found right: a list
of variants is compared with those that there are, whose definitions must be valid. So what is known
to be wrong is taken out, and the rest checked again, until nothing more is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
    problems, known = list(first.problems), [_key(line) for line in first.problems]
    rest, new = raw, known
    for _ in range(_MOST_ROUNDS):
        rest, some = _without(rest, new)
        if not some:
            break
        try:
            check(rest)
            break
        except InvalidConfigError as error:
            new = [_key(line) for line in error.problems]
            # What is above or below a key that was taken out may be wrong because of that.
            problems += [
                line for line in error.problems if not any(_near(_key(line), one) for one in known)
            ]
            known = [*known, *new]
        except Exception:  # the rest alone may be what no check expects; the first problems stand
            break
    return InvalidConfigError(problems)


def _key(line: str) -> tuple[str, ...]:
    """Return the path of the key that a line begins with; of a list's item that of the list."""
    return tuple(re.sub(r"\[\d+\].*", "", line.partition(": ")[0]).split("."))


def _near(key: tuple[str, ...], other: tuple[str, ...]) -> bool:
    length = min(len(key), len(other))
    return key[:length] == other[:length]


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
