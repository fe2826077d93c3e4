"""JSON read as a stream: one value of a long list at a time, within limits.

Only the ends of the values are searched for here, by brackets outside strings; the values themselves are parsed by the
standard library, because it reads every number and text exactly. Streaming parsers do not: yajl, the fast backend of
ijson, turns half a surrogate pair into '?' without a word and refuses whole numbers beyond 64 bits, and the exact
backend, written in Python, is many times slower.
"""

from __future__ import annotations

import codecs
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
_BLANKS_AT_MOST: Final = 2**20
_CHUNK_BYTES: Final = 2**18

# Quantifiers are possessive (`*+`): nothing is tried twice, and the time stays proportional to the length.
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT: Final = rf'(?:[^"{{}}\[\]]++|{_STRING})*+'
_TO_NEXT_BRACKET: Final = re.compile(rf'(?:[^"{{}}\[\]]++|{_STRING}|\{{{_FLAT}\}}|\[{_FLAT}\])*+[{{}}\[\]]', re.DOTALL)
_WHOLE_STRING: Final = re.compile(_STRING, re.DOTALL)
_WORD: Final = re.compile(r'[^\s,:"{}\[\]]*+')
_BLANKS: Final = re.compile(r"[ \t\n\r]*+")


class JsonStream:
    """A JSON text of which one value at a time is in memory.

    Every failure is a ValueError that begins with the JSON path of the value at hand.

    Parameters
    ----------
    read
        Returns up to so many bytes of UTF-8 text, and none at its end. A byte order mark is passed over.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._ended = False
        self._path = "$"

    def members(self, path: str) -> Iterator[str]:
        """Yield the keys of the object that follows; the value of each must be read before the next is asked for."""
        self._open(path, "{", "an object")
        seen: set[str] = set()
        for _ in self._until("}"):
            if self._peek() != '"':
                self._fail(f"the name of a field is expected, not {self._here()}")
            key = self.value(path)
            if key in seen:
                self._fail(f"the key {shown(key)} occurs twice")
            seen.add(key)
            self._path = path
            self._expect(":")
            yield key
            self._path = path

    def items(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield the items of the list that follows, each with its path."""
        self._open(path, "[", "a list")
        for position in self._until("]"):
            item = f"{path}[{position}]"
            yield item, self.value(item)
            self._path = path

    def value(self, path: str) -> Any:
        """Return the value that follows."""
        self._path = path
        first = self._peek()
        if first in ("{", "["):
            length = self._length_of_container()
        elif first == '"':
            length = self._length_of(_WHOLE_STRING)
        else:
            length = self._length_of(_WORD)
        text = self._text[self._at : self._at + length]
        if not text:
            self._fail(f"a value is expected, not {self._here()}")
        refuse_if_too_large(path, text)
        value = self._parsed(text)
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
        self._path = "$"
        if self._peek():
            self._fail(f"the text goes on after its end with {self._here()}")

    # Finding ends -------------------------------------------------------------------------------------------------

    def _open(self, path: str, bracket: str, wanted: str) -> None:
        self._path = path
        if self._peek() != bracket:
            self._fail(f"is {self._here()}; it must be {wanted}")
        self._at += 1

    def _until(self, bracket: str) -> Iterator[int]:
        """Count the items up to the closing bracket, and pass the commas between them."""
        position = 0
        while self._peek() != bracket or position:
            yield position
            position += 1
            if self._peek() == bracket:
                break
            self._expect(",")
        self._at += 1

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            self._fail(f"{mark!r} is expected, not {self._here()}")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is not blank, or nothing at the end."""
        skipped = 0
        while True:
            end = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            skipped += end - self._at
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if skipped > _BLANKS_AT_MOST:
                self._fail(f"more than {_BLANKS_AT_MOST} blank characters follow one another")
            if not self._more():
                return ""

    def _length_of_container(self) -> int:
        length = depth = 1
        while depth:
            match = _TO_NEXT_BRACKET.match(self._text, self._at + length)
            if match is None:
                self._require_more()
                continue
            length = match.end() - self._at
            depth += 1 if self._text[match.end() - 1] in "{[" else -1
            if depth > NESTING_AT_MOST:
                self._fail(f"is nested more than {NESTING_AT_MOST} levels deep")
        return length

    def _length_of(self, pattern: re.Pattern[str]) -> int:
        while True:
            match = pattern.match(self._text, self._at)
            if match is not None and (pattern is _WHOLE_STRING or match.end() < len(self._text) or not self._more()):
                return match.end() - self._at
            if match is None:
                self._require_more()
            elif len(self._text) - self._at > CHARACTERS_AT_MOST:
                self._fail(_too_long())

    # Reading ------------------------------------------------------------------------------------------------------

    def _require_more(self) -> None:
        if len(self._text) - self._at > CHARACTERS_AT_MOST:
            self._fail(_too_long())
        if not self._more():
            self._fail("the text ends within this value; the file is not complete")

    def _more(self) -> bool:
        """Read on, as much again as is waiting, so that a long value is not searched many times."""
        if self._ended:
            return False
        data = self._read(max(_CHUNK_BYTES, len(self._text) - self._at))
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._path}: the text is not UTF-8 ({error.reason})") from error
        self._dropped += self._at
        self._text = self._text[self._at :] + text
        self._at = 0
        return not self._ended

    def _parsed(self, text: str) -> Any:
        try:
            return _DECODER.decode(text)
        except json.JSONDecodeError as error:
            place = self._dropped + self._at + error.pos
            raise ValueError(f"{self._path}: {error.msg} (character {place}); it must be JSON") from error
        except RecursionError as error:
            raise ValueError(f"{self._path} is nested too deeply") from error
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from error

    def _here(self) -> str:
        return shown(self._text[self._at : self._at + 20]) if self._at < len(self._text) else "the end of the file"

    def _fail(self, complaint: str) -> NoReturn:
        joint = " " if complaint.startswith("is ") else ": "
        raise ValueError(f"{self._path}{joint}{complaint}")


def refuse_if_too_large(path: str, text: str) -> None:
    """Refuse the text of a value that would take too much memory; brackets in strings count too."""
    if len(text) > CHARACTERS_AT_MOST:
        raise ValueError(f"{path} {_too_long()}")
    if len(text) <= CONTAINERS_AT_MOST:
        return
    containers = text.count("{") + text.count("[")
    if containers > CONTAINERS_AT_MOST:
        raise ValueError(f"{path} holds {containers} lists and objects; it must be at most {CONTAINERS_AT_MOST}")


def _too_long() -> str:
    return f"is longer than {CHARACTERS_AT_MOST} characters; split it"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key in found if counts[key] > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice in one object")
    return found


def _number(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise ValueError(f"a number has {len(digits)} digits; that is too many") from error


def _no_number(word: str) -> NoReturn:
    raise ValueError(f'{word} is no JSON; an infinite extra metric is the text "Infinity" or "-Infinity"')


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_number, parse_constant=_no_number)
