"""The external term format, for Python that is not inside the VM (``py_isolated``).

https://www.erlang.org/doc/apps/erts/erl_ext_dist.html is the format. What becomes what is the table of
docs/type-conversion.md, as inside the VM, where C code converts (``nif/convert*.c``): a change there belongs here as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

__all__ = ("Atom", "Binary", "Fun", "Pid", "Port", "Ref", "decode", "encode", "options")

_MAX_ATOM_CHARACTERS = 255
_MAX_TUPLE = 16777215
# About what Erlang/OTP allows; it says so itself where it is less.
_MAX_INTEGER_BYTES = 1 << 23
# Frames for 10,000 levels.
_DEEP_RECURSION = 40_000
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_I32 = struct.Struct(">i")
_F64 = struct.Struct(">d")


class _Options:
    """What the server says of conversions."""

    none = "none"
    max_bytes = 1 << 30


options = _Options()


def _full_name(cls: type) -> str:
    # type's own attributes, whatever a metaclass has.
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    return name if not isinstance(module, str) or module == "builtins" else f"{module}.{name}"


def _key_text(key: object) -> str:
    """A key in a message, as Erlang prints it; of what is no text or number the type, since a repr() may do anything."""
    if isinstance(key, bytes):
        key = key.decode("utf-8", "backslashreplace")
    if isinstance(key, str):
        return f'<<"{str.__str__(key)[:200]}">>'
    return repr(key)[:200] if type(key) in (int, float) else _full_name(type(key))


class Atom(str):
    """Atom(text): a str that goes to Erlang as an atom."""

    __slots__ = ()

    def __new__(cls, text: str, /) -> Atom:
        """TypeError unless text is a str, ValueError when it is too long."""
        if not isinstance(text, str):
            raise TypeError(f"Atom() argument 1 must be str, not {type(text).__name__}")
        if len(text) > _MAX_ATOM_CHARACTERS:
            raise ValueError(
                f"an Erlang atom has at most {_MAX_ATOM_CHARACTERS} characters, not {len(text)}"
            )
        return super().__new__(cls, text)

    def __init_subclass__(cls, **_kwargs: object) -> None:
        raise TypeError("type 'erlang.Atom' is not an acceptable base type")

    def __repr__(self) -> str:
        return f"Atom({super().__repr__()})"


class Binary:
    """Binary(object): asks for an object that supports the buffer protocol to reach Erlang as a binary."""

    __slots__ = ("_object",)

    def __init__(self, data: Any, /) -> None:
        try:
            memoryview(data)
        except TypeError:
            name = _full_name(type(data))
            raise TypeError(f"Binary() needs an object that exports a buffer, not {name}") from None
        self._object = data


class _Opaque:
    """A term that Python has no type for, as the bytes that it came in."""

    __slots__ = ("__weakref__", "_bytes")

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(f"cannot create 'erlang.{cls.__name__}' instances")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._bytes == other._bytes  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __lt__(self, other: object) -> bool:
        if type(self) is not type(other) or type(self) is Fun:
            return NotImplemented
        return self._bytes < other._bytes  # type: ignore[attr-defined,no-any-return]

    def __le__(self, other: object) -> bool:
        less = self.__lt__(other)
        return less if less is NotImplemented else less or self == other

    def __repr__(self) -> str:
        return f"<erlang.{type(self).__name__} {self._bytes.hex()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle 'erlang.{type(self).__name__}' object: it means something only in this Erlang node"
        )

    def __copy__(self) -> _Opaque:
        return self

    def __deepcopy__(self, _memo: object) -> _Opaque:
        return self

    _bytes: bytes


class Pid(_Opaque):
    """An Erlang process identifier."""

    __slots__ = ()


class Ref(_Opaque):
    """An Erlang reference."""

    __slots__ = ()


class Port(_Opaque):
    """An Erlang port identifier."""

    __slots__ = ()


class Fun(_Opaque):
    """An Erlang fun."""

    __slots__ = ()


for _class in (Atom, Binary, Pid, Ref, Port, Fun):
    _class.__module__ = "erlang"
del _class


# ---- From Erlang


class _Reader:
    """Reads terms from bytes at a position."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def u8(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def u16(self) -> int:
        self.at += 2
        return _U16.unpack_from(self.data, self.at - 2)[0]  # type: ignore[no-any-return]

    def u32(self) -> int:
        self.at += 4
        return _U32.unpack_from(self.data, self.at - 4)[0]  # type: ignore[no-any-return]

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def term(self) -> Any:
        tag = self.data[self.at]
        self.at += 1
        try:
            read = _READERS[tag]
        except KeyError:
            raise TypeError("an Erlang term of a type that this library does not know") from None
        return read(self)


_SPECIAL: dict[str, Any] = {
    "true": True,
    "false": False,
    "none": None,
    "nil": None,
    "undefined": None,
    "nan": math.nan,
    "infinity": math.inf,
    "neg_infinity": -math.inf,
}


def _atom_text(text: bytes, encoding: str = "utf-8") -> Any:
    name = text.decode(encoding)
    return _SPECIAL[name] if name in _SPECIAL else sys.intern(name)


def _read_integer(reader: _Reader) -> int:
    reader.at += 4
    return _I32.unpack_from(reader.data, reader.at - 4)[0]  # type: ignore[no-any-return]


def _read_float(reader: _Reader) -> float:
    reader.at += 8
    return _F64.unpack_from(reader.data, reader.at - 8)[0]  # type: ignore[no-any-return]


def _read_big(reader: _Reader, size: int) -> int:
    negative = reader.u8()
    magnitude = int.from_bytes(reader.take(size), "little")
    return -magnitude if negative else magnitude


def _read_binary(reader: _Reader) -> str | bytes:
    data = reader.take(reader.u32())
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _read_bitstring(_reader: _Reader) -> NoReturn:
    raise TypeError("a bitstring that is not whole bytes has no equivalent in Python")


def _read_list(reader: _Reader) -> list[Any]:
    items = [reader.term() for _ in range(reader.u32())]
    if reader.u8() != _NIL:
        raise TypeError("an improper list has no equivalent in Python")
    return items


_BYTES_ATOMS = (b"w\x05bytes", b"s\x05bytes", b"d\x00\x05bytes", b"v\x00\x05bytes")


def _read_tuple(reader: _Reader, size: int) -> Any:
    if size == 2 and reader.data.startswith(_BYTES_ATOMS, reader.at):
        start = reader.at
        reader.term()
        if reader.u8() == _BINARY:
            return reader.take(reader.u32())
        reader.at = start
    return tuple([reader.term() for _ in range(size)])


def _read_map(reader: _Reader) -> dict[Any, Any]:
    size = reader.u32()
    result: dict[Any, Any] = {}
    for count in range(size):
        key = reader.term()
        value = reader.term()
        try:
            result[key] = value
        except TypeError:
            kind = type(key).__name__
            raise TypeError(f"a map key cannot be hashed in Python (as a {kind})") from None
        if len(result) == count:
            kind = type(key).__name__
            raise ValueError(
                f"map key {_key_text(key)} equals another key of the same map in Python (as a {kind})"
            )
    return result


def _opaque(cls: type, skip: Callable[[_Reader], object]) -> Callable[[_Reader], Any]:
    def read(reader: _Reader) -> Any:
        start = reader.at - 1
        skip(reader)
        term = object.__new__(cls)
        term._bytes = reader.data[start : reader.at]
        return term

    return read


def _skip_node(size: int) -> Callable[[_Reader], None]:
    def skip(reader: _Reader) -> None:
        reader.term()
        reader.at += size

    return skip


def _skip_reference(creation: int) -> Callable[[_Reader], None]:
    def skip(reader: _Reader) -> None:
        words = reader.u16()
        reader.term()
        reader.at += creation + 4 * words

    return skip


def _skip_fun(reader: _Reader) -> None:
    size = reader.u32()
    reader.at += size - 4


def _skip_export(reader: _Reader) -> None:
    for _ in range(3):
        reader.term()


_SMALL_INTEGER, _NIL, _BINARY = 97, 106, 109

_READERS: dict[int, Callable[[_Reader], Any]] = {
    _SMALL_INTEGER: _Reader.u8,
    98: _read_integer,
    70: _read_float,
    110: lambda reader: _read_big(reader, reader.u8()),
    111: lambda reader: _read_big(reader, reader.u32()),
    100: lambda reader: _atom_text(reader.take(reader.u16()), "latin-1"),
    115: lambda reader: _atom_text(reader.take(reader.u8()), "latin-1"),
    118: lambda reader: _atom_text(reader.take(reader.u16())),
    119: lambda reader: _atom_text(reader.take(reader.u8())),
    104: lambda reader: _read_tuple(reader, reader.u8()),
    105: lambda reader: _read_tuple(reader, reader.u32()),
    _NIL: lambda _reader: [],
    107: lambda reader: list(reader.take(reader.u16())),
    108: _read_list,
    _BINARY: _read_binary,
    77: _read_bitstring,
    116: _read_map,
    88: _opaque(Pid, _skip_node(12)),
    103: _opaque(Pid, _skip_node(9)),
    89: _opaque(Port, _skip_node(8)),
    102: _opaque(Port, _skip_node(5)),
    120: _opaque(Port, _skip_node(12)),
    90: _opaque(Ref, _skip_reference(4)),
    114: _opaque(Ref, _skip_reference(1)),
    112: _opaque(Fun, _skip_fun),
    113: _opaque(Fun, _skip_export),
}


def decode(data: bytes) -> Any:
    """The object of a term in external format; TypeError or ValueError when Python has none for it."""
    try:
        return _Reader(data, 1).term()
    except RecursionError:
        with _deep():
            return _Reader(data, 1).term()


@contextlib.contextmanager
def _deep() -> Iterator[None]:
    """Let conversions go as deep as inside the VM; only Python code calls itself there."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEP_RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


# ---- To Erlang

_Out = list[bytes]


def _atom(name: str) -> bytes:
    text = name.encode()
    return (
        b"w" + bytes((len(text),)) + text if len(text) < 256 else b"v" + _U16.pack(len(text)) + text
    )


_TRUE, _FALSE = _atom("true"), _atom("false")


def _put_none(_value: None, out: _Out, _raw: bool) -> None:
    out.append(_atom(options.none))


def _put_bool(value: bool, out: _Out, _raw: bool) -> None:
    out.append(_TRUE if value else _FALSE)


def _put_integer(value: int, out: _Out, _raw: bool) -> None:
    if 0 <= value < 256:
        out.append(b"a" + bytes((value,)))
    elif -0x80000000 <= value < 0x80000000:
        out.append(b"b" + _I32.pack(value))
    else:
        magnitude = abs(value)
        size = (magnitude.bit_length() + 7) // 8
        if size > _MAX_INTEGER_BYTES:
            raise OverflowError("int too large for an Erlang integer")
        head = b"n" + bytes((size,)) if size < 256 else b"o" + _U32.pack(size)
        out.append(head + (b"\1" if value < 0 else b"\0") + magnitude.to_bytes(size, "little"))


def _put_integer_subclass(value: int, out: _Out, raw: bool) -> None:
    # int's own value, whatever the subclass has.
    _put_integer(int.__add__(value, 0), out, raw)


def _put_float_subclass(value: float, out: _Out, raw: bool) -> None:
    _put_float(float.__float__(value), out, raw)


def _put_bytes_subclass(value: bytes, out: _Out, raw: bool) -> None:
    _put_bytes(b"".join((value,)), out, raw)


def _put_float(value: float, out: _Out, _raw: bool) -> None:
    if math.isfinite(value):
        out.append(b"F" + _F64.pack(value))
    elif math.isnan(value):
        out.append(_atom("nan"))
    else:
        out.append(_atom("infinity" if value > 0 else "neg_infinity"))


def _put_bytes(value: bytes, out: _Out, _raw: bool) -> None:
    out.append(b"m" + _U32.pack(len(value)))
    out.append(value)


def _put_string(value: str, out: _Out, _raw: bool) -> None:
    # str's own method, whatever a subclass has.
    data = str.encode(value)
    out.append(b"m" + _U32.pack(len(data)) + data)


def _put_items(items: tuple[Any, ...], out: _Out, raw: bool) -> None:
    if items:
        out.append(b"l" + _U32.pack(len(items)))
        for item in items:
            _put(item, out, raw)
    out.append(b"j")


def _same_size(what: str, before: int, after: int) -> None:
    """Conversions may run code that changes what is converted."""
    if before != after:
        raise RuntimeError(f"{what} changed during its conversion to an Erlang term")


def _put_list(value: list[Any], out: _Out, raw: bool) -> None:
    items = tuple(list.__iter__(value))
    _put_items(items, out, raw)
    _same_size("list", len(items), list.__len__(value))


def _put_set(value: set[Any] | frozenset[Any], out: _Out, raw: bool) -> None:
    base: Any = set if isinstance(value, set) else frozenset
    items = tuple(base.__iter__(value))
    _put_items(items, out, raw)
    _same_size("set", len(items), base.__len__(value))


def _put_tuple(value: tuple[Any, ...], out: _Out, raw: bool) -> None:
    size = tuple.__len__(value)
    if size > _MAX_TUPLE:
        raise OverflowError(f"an Erlang tuple has at most {_MAX_TUPLE} elements, not {size}")
    out.append(b"h" + bytes((size,)) if size < 256 else b"i" + _U32.pack(size))
    for item in tuple.__iter__(value):
        _put(item, out, raw)


def _put_dict(value: dict[Any, Any], out: _Out, raw: bool) -> None:
    pairs = tuple(dict.items(value))
    out.append(b"t" + _U32.pack(len(pairs)))
    seen = set()
    for key, item in pairs:
        part: _Out = []
        _put(key, part, raw)
        encoded = b"".join(part)
        if encoded in seen:
            raise ValueError(f"two keys of a dict are the same Erlang term: {_key_text(key)}")
        seen.add(encoded)
        out.append(encoded)
        _put(item, out, raw)
    _same_size("dict", len(pairs), dict.__len__(value))


def _put_atom(value: Atom, out: _Out, _raw: bool) -> None:
    out.append(_atom(str(value)))


def _put_opaque(value: _Opaque, out: _Out, _raw: bool) -> None:
    out.append(value._bytes)


def _code(view: memoryview) -> str:
    return view.format.lstrip("@=<>!")


def _put_buffer(value: Any, out: _Out, raw: bool) -> None:
    with memoryview(value) as view:
        if any(code in "OPzZ&X" for code in _code(view)) and _code(view) not in (
            "Zf",
            "Zd",
            "Zg",
        ):
            name = _full_name(type(value))
            raise TypeError(f"cannot convert {name} to an Erlang binary: its items are pointers")
        _put_bytes(view.tobytes("C"), out, raw)


def _put_binary(value: Binary, out: _Out, raw: bool) -> None:
    _put_buffer(value._object, out, raw)


_PLAIN: dict[type, Callable[[Any, _Out, bool], None]] = {
    str: _put_string,
    int: _put_integer,
    float: _put_float,
    bool: _put_bool,
    type(None): _put_none,
    bytes: _put_bytes,
    dict: _put_dict,
    list: _put_list,
    tuple: _put_tuple,
    Atom: _put_atom,
    Binary: _put_binary,
    Pid: _put_opaque,
    Ref: _put_opaque,
    Port: _put_opaque,
    Fun: _put_opaque,
}

_BASES: tuple[tuple[Any, Callable[[Any, _Out, bool], None]], ...] = (
    (str, _put_string),
    (int, _put_integer_subclass),
    (float, _put_float_subclass),
    (bytes, _put_bytes_subclass),
    (bytearray, _put_buffer),
    (tuple, _put_tuple),
    (list, _put_list),
    (dict, _put_dict),
    ((set, frozenset), _put_set),
)


def _view(value: Any) -> memoryview | None:
    try:
        return memoryview(value)
    except (TypeError, BufferError, ValueError):
        return None


def _put_array(value: Any, out: _Out, raw: bool) -> bool:
    """Whether it was an array or another buffer, and has been put."""
    view = _view(value)
    tolist = getattr(value, "tolist", None)
    if view is None and tolist is None:
        return False
    if view is not None:
        with view:
            code, items, dimensions = _code(view), view.itemsize, view.ndim
        if (
            (tolist is None or isinstance(value, memoryview))
            and items == 1
            and code in ("B", "b", "c")
        ):
            _put_buffer(value, out, raw)
            return True
        numbers = code in ("Zf", "Zd") or len(code) == 1 and code in "?bBhHiIlLqQnNefd"
        if raw and dimensions > 0 and numbers and hasattr(value, "__getitem__"):
            _put_buffer(value, out, raw)
            return True
    if tolist is None or view is None and not _is_array(value):
        return False
    values = tolist()
    if type(values) is type(value):
        return False
    _put(values, out, raw)
    return True


def _is_array(value: Any) -> bool:
    """An array whose items have no buffer format, such as numpy's datetime64."""
    return hasattr(type(value), "__array_interface__")


def _put_other(value: Any, out: _Out, raw: bool) -> None:
    kind = type(value)
    for base, put in _BASES:
        if issubclass(kind, base):
            put(value, out, raw)
            return
    if _put_array(value, out, raw):
        return
    if any("__dataclass_fields__" in vars(cls) for cls in kind.__mro__):
        fields = dataclasses.fields(kind)
        out.append(b"t" + _U32.pack(len(fields)))
        for field in fields:
            _put(field.name, out, raw)
            _put(getattr(value, field.name), out, raw)
        return
    for method, convert, put_number in (
        (
            "__index__",
            kind.__index__ if hasattr(kind, "__index__") else None,
            _put_integer_subclass,
        ),
        ("__float__", kind.__float__ if hasattr(kind, "__float__") else None, _put_float_subclass),
    ):
        if convert is None:
            continue
        try:
            number = convert(value)
        except TypeError:
            continue
        expected = int if method == "__index__" else float
        if isinstance(number, expected):
            put_number(number, out, raw)
            return
    raise TypeError(f"cannot convert {_full_name(kind)} to an Erlang term")


def _put(value: Any, out: _Out, raw: bool) -> None:
    put = _PLAIN.get(type(value))
    if put is not None:
        put(value, out, raw)
    else:
        _put_other(value, out, raw)


def encode(value: Any, *, arrays_as_binary: bool = False) -> bytes:
    """The external format of an object; TypeError, ValueError or OverflowError when Erlang has no term for it.

    MemoryError when it is larger than the environment's ``max_term_bytes``.
    """
    out: _Out = [b"\x83"]
    try:
        _put(value, out, arrays_as_binary)
    except RecursionError:
        out = [b"\x83"]
        with _deep():
            _put(value, out, arrays_as_binary)
    data = b"".join(out)
    if len(data) > options.max_bytes:
        raise MemoryError(
            f"the Erlang term would be larger than {options.max_bytes} bytes (environment key max_term_bytes)"
        )
    return data
