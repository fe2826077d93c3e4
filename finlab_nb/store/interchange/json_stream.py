"""JSON read as a stream: one value of a long list at a time, within limits.

Only the ends of the values are searched for here, by brackets outside strings; the values themselves are parsed by the
standard library, because it reads every number and text exactly. Streaming parsers do not: yajl, the fast backend of
ijson, turns half a surrogate pair into '?' without a word and crashes on a whole number of thousands of digits, and the
exact backend, written in Python, is many times slower.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from finlab_nb.records.values import shown

# Per value, so that a small file that unpacks into a huge one cannot fill the memory.
CHARACTERS_AT_MOST: Final = 256 * 2**20
CONTAINERS_AT_MOST: Final = 4_000_000
NESTING_AT_MOST: Final = 500
_CHUNK_CHARACTERS: Final = 2**18

# Quantifiers are possessive (`*+`): nothing is tried twice, and the time stays proportional to the length.
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OTHER: Final = r'[^"{}\[\]]++'
_FLAT: Final = rf"(?:{_OTHER}|{_STRING})*+"
_TO_BRACKET: Final = re.compile(rf"(?:{_OTHER}|{_STRING}|\{{{_FLAT}\}}|\[{_FLAT}\])*+(?:([{{\[])|[}}\]])", re.DOTALL)
_SCALAR: Final = re.compile(rf'{_STRING}|(?!")[^\s,:"{{}}\[\]]*+(?!\Z)', re.DOTALL)  # a word may go on after a chunk
_NOT_BLANK: Final = re.compile(r"[^ \t\n\r]")


class JsonStream:
    """A JSON text of which one value at a time is in memory.

    Every failure is a ValueError that begins with the JSON path of the value at hand; a line and column that it tells
    count from the beginning of this value.

    Parameters
    ----------
    read
        Returns up to so many characters, and none at the end.
    """

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._text = ""
        self._at = 0
        self._path = "$"

    def members(self, path: str) -> Iterator[str]:
        """Yield the keys of the object that follows; the value of each must be read before the next is asked for."""
        seen: set[str] = set()
        for _ in self._parts(path, "{}", "an object"):
            if self._peek() != '"':
                raise ValueError(f"{path}: the name of a field is expected, not {self._here()}")
            key = self.value(path)
            if key in seen:
                raise ValueError(f"{path}: the key {shown(key)} occurs twice")
            seen.add(key)
            self._expect(":")
            yield key

    def items(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield the items of the list that follows, each with its path."""
        for position in self._parts(path, "[]", "a list"):
            item = f"{path}[{position}]"
            yield item, self.value(item)

    def value(self, path: str) -> Any:
        """Return the value that follows."""
        self._path = path
        length = self._length()
        text = self._text[self._at : self._at + length]
        refuse_if_too_large(path, text)
        try:
            value = _DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from error
        self._at += length
        return value

    def pass_over(self, path: str) -> None:
        """Pass over the value that follows; of a list, one item at a time."""
        if self._peek() == "[":
            for _ in self.items(path):
                pass
        else:
            self.value(path)

    def end(self) -> None:
        """Refuse anything that follows."""
        if self._peek():
            raise ValueError(f"$: the text goes on after its end with {self._here()}")

    def _parts(self, path: str, brackets: str, wanted: str) -> Iterator[int]:
        """Count what stands between brackets, and pass the brackets and the commas."""
        self._path = path
        if self._peek() != brackets[0]:
            raise ValueError(f"{path} is {self._here()}; it must be {wanted}")
        self._at += 1
        position = 0
        while position or self._peek() != brackets[1]:
            yield position
            position += 1
            self._path = path
            if self._peek() != ",":
                break
            self._at += 1
        self._expect(brackets[1])

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            raise ValueError(f"{self._path}: {mark!r} is expected, not {self._here()}")
        self._at += 1

    def _here(self) -> str:
        return shown(self._text[self._at : self._at + 20]) if self._peek() else "the end of the file"

    def _peek(self) -> str:
        """Pass blanks and return the character that follows them, or nothing at the end."""
        while not (found := _NOT_BLANK.search(self._text, self._at)):
            if not self._more():
                self._at = len(self._text)
                return ""
        self._at = found.start()
        return found[0]

    def _length(self) -> int:
        """Find the end of the value that follows."""
        is_container = self._peek() in ("{", "[")
        pattern = _TO_BRACKET if is_container else _SCALAR
        length = depth = int(is_container)
        while True:
            match = pattern.match(self._text, self._at + length)
            if match is not None:
                length = match.end() - self._at
                depth += 1 if match.lastindex else -1
                if depth <= 0:
                    return length
                if depth > NESTING_AT_MOST:
                    raise ValueError(f"{self._path} is nested more than {NESTING_AT_MOST} levels deep")
            elif not self._more():
                raise ValueError(f"{self._path}: the text ends within this value; the file is not complete")

    def _more(self) -> bool:
        """Read on, as much again as is waiting, so that a long value is not searched many times."""
        waiting = self._text[self._at :]
        refuse_if_too_large(self._path, waiting)
        try:
            read = self._read(max(_CHUNK_CHARACTERS, len(waiting)))
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._path}: the text is not UTF-8 ({error.reason})") from error
        self._text, self._at = waiting + read, 0
        return bool(read)


def refuse_if_too_large(path: str, text: str) -> None:
    """Refuse the text of a value that would take too much memory; brackets in strings count too."""
    if len(text) > CHARACTERS_AT_MOST:
        raise ValueError(f"{path} is longer than {CHARACTERS_AT_MOST} characters; split it")
    containers = text.count("{") + text.count("[")
    if containers > CONTAINERS_AT_MOST:
        raise ValueError(f"{path} holds {containers} lists and objects; it must be at most {CONTAINERS_AT_MOST}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} occurs twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f'{word} is no JSON; an infinite extra metric is the text "Infinity" or "-Infinity"')


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number)
