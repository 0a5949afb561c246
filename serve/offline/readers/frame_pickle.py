"""A pickled pandas DataFrame as a table, without running the pickle.

Every global that the pickle names is answered with a stand-in from this file, so nothing of
pandas, NumPy or pyarrow is called with what the file says. Their own reconstructors would not do
behind an allow-list: NumPy's trust the sizes and type flags of the pickle and can be made to read
memory that is not theirs. Nor does it matter then which pandas wrote the file.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serve.errors import TableError

PLAIN = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}
OBJECT = "O8"


def read_frame(path: Path) -> pd.DataFrame:
    """Read the DataFrame of a pickle of protocol 2 to 5, as pandas 1.5, 2 and 3 write it.

    Columns may hold plain numbers, bools, Python objects and pandas' Arrow strings.

    Returns:
        The columns, all of dtype object; the row index is left behind.

    Raises:
        TableError: the file cannot be read, names a global that a DataFrame has no need of, or
            holds anything else than a DataFrame.
    """
    try:
        with path.open("rb") as file:
            frame = _Unpickler(file).load()
        if not isinstance(frame, _Frame):
            raise TableError(f"{path}: the pickle holds no DataFrame")
        return pd.DataFrame(frame.columns, dtype="object")
    except _RefusedError as refused:
        raise TableError(f"{path}: the pickle asks for {refused}, which is refused") from None
    except (TableError, KeyboardInterrupt):
        raise
    except Exception as error:
        # A broken or hostile pickle can fail in any way; it is one line to the user.
        raise TableError(f"{path}: not a pickled DataFrame: {error!r}") from error


class _RefusedError(Exception):
    """A global that no stand-in answers."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get(f"{module}.{name}")
        if stand_in is None:
            raise _RefusedError(f"{module}.{name}")
        # A pickle may set attributes on what it is given: let that be a throw-away, not ours.
        return stand_in if isinstance(stand_in, type) else lambda *args: stand_in(*args)


class _Dtype:
    """numpy.dtype: a plain number, a bool or an object; no fields, no subarrays."""

    def __init__(self, code: str, align: Any, copy: Any) -> None:
        if code not in PLAIN and code != OBJECT:
            raise ValueError(f"values of type {code!r}")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.code = f">{self.code}"


class _Array:
    """numpy.ndarray: values made from bytes of a plain type or from a list of objects."""

    values: npt.NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if dtype.code == OBJECT:
            # NumPy lists objects row by row whatever the order in memory.
            self.values = np.fromiter(raw, dtype=object, count=len(raw)).reshape(shape)
        else:
            values = np.frombuffer(raw, dtype.code)
            self.values = values.reshape(shape, order="F" if fortran else "C")


class _Strings:
    """pandas' Arrow strings: a list of str and None."""

    values: list[str | None]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values = state["_pa_array"]


class _Frame:
    """pandas.DataFrame: its columns by name."""

    columns: dict[Any, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.columns = state["_mgr"]


class _Nothing:
    """Whatever the values of a table do not depend on."""

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _empty_array(*args: Any) -> _Array:
    return _Array()


def _array_of_buffer(raw: Any, dtype: Any, shape: Any, order: str, axes: Any = None) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    if axes is not None:
        array.values = array.values.transpose(axes)
    return array


def _scalar(dtype: _Dtype, raw: bytes) -> Any:
    return np.frombuffer(raw, dtype.code)[0].item()


def _labels(kind: Any, state: dict[str, Any]) -> list[Any] | range:
    if "data" in state:
        return list(state["data"].values)
    return range(state["start"], state["stop"], state["step"])


def _block(values: Any, place: Any, ndim: Any) -> tuple[Any, Any]:
    """Columns of one type and their places among all columns, a slice or an array of them."""
    return ([values.values] if isinstance(values, _Strings) else values.values), place


def _columns(blocks: Any, axes: Any) -> dict[Any, Any]:
    labels = axes[0]
    columns: dict[Any, Any] = {}
    for block, place in blocks:
        sliced = isinstance(place, slice)
        places = range(len(labels))[place] if sliced else place.values.tolist()
        columns |= {labels[at]: column for at, column in zip(places, block, strict=True)}
    if len(columns) != len(labels):
        raise ValueError("a column is missing or its name occurs twice")
    return {label: columns[label] for label in labels}


def _arrow_strings(state: Any) -> list[str | None]:
    """Arrow's layout: a bit per string that is not null, where each ends, all text in a row."""
    offset_type, length, _, start, (valid, offsets, text), *_ = state
    at = np.frombuffer(offsets, offset_type)[start : start + length + 1].tolist()
    known = [1] * length
    if valid is not None:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        known = bits[start : start + length].tolist()
    raw = bytes(text or b"")
    cells = zip(known, at[:-1], at[1:], strict=True)
    return [raw[first:end].decode() if some else None for some, first, end in cells]


def _arrow_offset_type(name: str) -> str:
    return {"string": "<i4", "large_string": "<i8"}[name]


def _bytes(value: Any = b"", encoding: Any = None) -> Any:
    """Bytes as they are; protocol 2 has no bytes and writes Latin-1 text instead."""
    return value.encode("latin-1") if isinstance(value, str) else value


_STAND_INS: dict[str, Any] = {
    # All that RouterBench's published files name; pandas 1.5 and 2 name no others.
    "builtins.slice": slice,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.numeric._frombuffer": _array_of_buffer,
    "pandas._libs.internals._unpickle_block": _block,
    "pandas.core.frame.DataFrame": _Frame,
    "pandas.core.indexes.base.Index": _Nothing,
    "pandas.core.indexes.base._new_Index": _labels,
    "pandas.core.indexes.range.RangeIndex": _Nothing,
    "pandas.core.internals.managers.BlockManager": _columns,
    # Protocol 2, NumPy's own scalars among objects, and the integer index of pandas 1.
    "__builtin__.slice": slice,
    "__builtin__.bytes": _bytes,
    "__builtin__.bytearray": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _bytes,
    "numpy.core.multiarray.scalar": _scalar,
    "pandas.core.indexes.numeric.Int64Index": _Nothing,
    # NumPy 2 and pandas 3.
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _array_of_buffer,
    "pandas.DataFrame": _Frame,
    "pandas.Index": _Nothing,
    "pandas.RangeIndex": _Nothing,
    "pandas.StringDtype": _Nothing,
    "pandas.arrays.ArrowStringArray": _Strings,
    "pyarrow.lib._restore_array": _arrow_strings,
    "pyarrow.lib.py_buffer": _bytes,
    "pyarrow.lib.type_for_alias": _arrow_offset_type,
}
