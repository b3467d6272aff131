"""Whole numbers to strings of bits and back: an interval coder in integers alone.

A string is the shortest one all of whose continuations lie in its image's interval. So a string
ends by itself, costs at most two bits more than the tables say, and a torn one is told. Integers
and integer tables give the same bytes on every machine.

Source: Rissanen and Langdon (1979), "Arithmetic coding"; Witten, Neal and Cleary (1987).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core.errors import InputError

LEVELS = 255  # a table's, up and down from 0; what lies beyond is escaped
_PRECISION = 24
SCALE = 1 << _PRECISION  # what the parts of a table add up to
_BEYOND = 2 * LEVELS + 1  # the place of all other levels in a table
_BIT = (0, SCALE // 2, SCALE)  # as a table: two values, equally likely
_WORD = 64  # bits by which the interval is widened at a time
_LEAST = 1 << _WORD  # width below which it is

Tables = Sequence[Sequence[int]]  # rows as `core.learned.density.integer_tables` makes them


class String(NamedTuple):
    """One image's bits."""

    data: bytes  # the last one filled up with zeros
    n_bits: int


class Encoder:
    """Levels in, one string out."""

    def __init__(self) -> None:
        self._low, self._width, self._n_shifted = 0, 1 << 2 * _WORD, 0

    def put(self, levels: Iterable[int], rows: Iterable[int], tables: Tables) -> None:
        """Append levels, each by a row of the tables."""
        for level, row in zip(levels, rows, strict=True):
            if -LEVELS <= level <= LEVELS:
                self._put(tables[row], level + LEVELS)
            else:
                self._put(tables[row], _BEYOND)
                self._put_beyond(level)

    def _put(self, table: Sequence[int], place: int) -> None:
        step = self._width >> _PRECISION
        start = table[place]
        self._low += step * start
        self._width = step * (table[place + 1] - start)
        if self._width < _LEAST:
            self._low <<= _WORD
            self._width <<= _WORD
            self._n_shifted += _WORD

    def _put_beyond(self, level: int) -> None:
        """The sign, then how far it lies beyond the table in Elias' gamma code."""
        excess = abs(level) - LEVELS
        bits = [int(level < 0), *[0] * (excess.bit_length() - 1), *map(int, f"{excess:b}")]
        for bit in bits:
            self._put(_BIT, bit)

    def string(self) -> String:
        """All that was put."""
        total = 2 * _WORD + self._n_shifted
        n = total - self._width.bit_length() + 1
        first = -(-self._low >> (total - n))
        if (first + 1) << (total - n) > self._low + self._width:
            n += 1
            first = -(-self._low >> (total - n))
        n_bytes = -(-n // 8)
        return String((first << (8 * n_bytes - n)).to_bytes(n_bytes), n)


class Decoder:
    """The levels of one string, asked for as they were put."""

    def __init__(self, data: bytes) -> None:
        self._data, self._read = data, 2 * _WORD // 8
        self._code = int.from_bytes(data[: self._read].ljust(self._read, b"\0"))
        self._width = 1 << 2 * _WORD

    def get(self, rows: Iterable[int], tables: Tables) -> list[int]:
        """As many levels as there are rows; InputError where the string cannot hold them."""
        levels = []
        for row in rows:
            place = self._get(tables[row])
            levels.append(self._get_beyond() if place == _BEYOND else place - LEVELS)
        return levels

    def _get(self, table: Sequence[int]) -> int:
        step = self._width >> _PRECISION
        found = self._code // step
        if found >= SCALE:
            raise InputError("no encoder writes such bits.\nHint: encode it again.")
        place = bisect_right(table, found) - 1
        start = table[place]
        self._code -= step * start
        self._width = step * (table[place + 1] - start)
        if self._width < _LEAST:
            n = _WORD // 8
            word = self._data[self._read : self._read + n].ljust(n, b"\0")
            self._code = self._code << _WORD | int.from_bytes(word)
            self._width <<= _WORD
            self._read += n
        return place

    def _get_beyond(self) -> int:
        negative, n_bits = self._get(_BIT), 1
        while not self._get(_BIT):
            n_bits += 1
            self._check_read()
        excess = 1
        for _ in range(n_bits - 1):
            excess = 2 * excess + self._get(_BIT)
        return -(LEVELS + excess) if negative else LEVELS + excess

    def _check_read(self) -> None:
        if self._read > len(self._data) + 4 * _WORD:
            raise InputError("it ends too early: it was torn.\nHint: encode it again.")

    def finish(self) -> None:
        """InputError unless the string ends where its last level does."""
        n_left = 8 * (self._read - len(self._data))  # bits that were read beyond its end
        if n_left >= 0 and self._code + (1 << n_left) > self._width:
            raise InputError("it ends too early: it was torn.\nHint: encode it again.")
        if n_left < 0 or (self._data and self._holds_without_last(n_left)):
            raise InputError("bytes follow its end.\nHint: encode it again.")

    def _holds_without_last(self, n_left: int) -> bool:
        code = self._code - (self._data[-1] << n_left)
        return code >= 0 and code + (1 << (n_left + 8)) <= self._width
