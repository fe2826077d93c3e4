"""The names of an answer's columns: all different, whatever their case, because SQL knows no case."""

from __future__ import annotations

from collections.abc import Iterable


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names that all differ by more than case from each other and from those taken.

    A later one of the same name ends in _2, _3 and so on.
    """
    given, used, found = list(names), {name.lower() for name in taken}, list[str]()
    wanted = {name.lower() for name in given}
    for name in given:
        unique, number = name, 1
        while unique.lower() in used or (number > 1 and unique.lower() in wanted):
            number += 1
            unique = f"{name}_{number}"
        used.add(unique.lower())
        found.append(unique)
    return found


def shown_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return a unique name to show for each of these, in their order.

    What SQL cannot name is shown by a symbol: a NUL in a name, and no name at all.
    """
    ordered = sorted(names)
    shown = (name.replace("\0", "\N{SYMBOL FOR NULL}") or "\N{EMPTY SET}" for name in ordered)
    return dict(zip(ordered, unique_names(shown, taken), strict=True))
