"""Shortens the file names in a pprof profile: strip_profile.py <from> <to>.

A CPU profile names every mapped library by its full path on the machine that made it. The Go compiler
does not read them, and a committed profile should not tell them. Format: profile.proto of
github.com/google/pprof, a gzipped protocol buffer whose field 6 is the table of strings.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

_STRING_TABLE = 6
_VARINT, _LENGTH_DELIMITED = 0, 2


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def strip(data: bytes) -> bytes:
    """The profile with absolute paths reduced to file names; ValueError for what is no profile."""
    out = bytearray()
    position = 0
    while position < len(data):
        start = position
        key, position = _read_varint(data, position)
        if key & 7 == _VARINT:
            _, position = _read_varint(data, position)
            out += data[start:position]
        elif key & 7 == _LENGTH_DELIMITED:
            length, position = _read_varint(data, position)
            value = data[position : position + length]
            position += length
            if key >> 3 == _STRING_TABLE and value.startswith(b"/"):
                value = value.rsplit(b"/", 1)[1]
            out += _varint(key) + _varint(len(value)) + value
        else:
            raise ValueError(f"unexpected wire type {key & 7} at offset {start}")
    return bytes(out)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    # A fixed time in the gzip header: the same profile gives the same file.
    target.write_bytes(gzip.compress(strip(gzip.decompress(source.read_bytes())), mtime=0))
