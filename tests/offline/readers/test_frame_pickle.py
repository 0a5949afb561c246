from __future__ import annotations

import base64
import builtins
import io
import os
import pickle
import struct
import zlib

import numpy as np
import pandas as pd
import pytest

from serve.errors import TableError
from serve.offline.readers.frame_pickle import read_frame

PROTOCOLS = [2, 3, 4, 5]
# Protocol 5 of a small table like RouterBench's, byte for byte the same from pandas 1.5.3 with
# NumPy 1.24.4 and from pandas 2.1.2 with NumPy 1.26.1.
OLD_PANDAS = (
    "c-nPT-D=c86yDwL+F!L6TJ43hf|4z`v9+QiYW%~Zp)Kfz7psIxGT9lLOu}T+A5hSX))wZ@QP4N>5d;On7w`eR@D23LY^"
    "qz^&PC3d$@xF$JFgn=RvQ&_<cSQi5ao7|a%@K&C0NPf`$(V%hJUMOUaOa?CF@?&<w~CE7pF{M&QP4&31X;=d9LKx-8c<"
    "a7JGM4ms6#N7gIm~r=sL>uV5JsR$}b=T1N{{up-Gede(u(oCZpcdJ#_(zlb7ZvGsno7klO72Yo&{J^I<1H|M)^*t?PqV"
    ";^WJHZq-^tVP$<&h{JiShd^%S-qi_mX;p<hGRZ%MJV5`xdU5DR_`eRVsgkYXe=m$6dHL<18v3~bcfxlw&K?GmyF8EzEq"
    "L|6cFbKT#tDi2Pw-1F9HFoWLyqHfy_@ZRM}Mbs=n$4RCR~6Yce5g%X`9n@n4t@gt_w^+BA_QanXkAi!|A=S5a)wDLIn("
    "S!RcL)xM<U(M0%|1;pIvp$#4DDM6x1^ClIJ^<2qGc;QswCTd0n3j|G>t>4ddtOu0mqA3c_tP4%+iB2SZ#>^cA#`>KrS="
    "Vlr94sBG1?N|<Z`%vb&oBCX-C1zH_1+eoALT?gI@TR+ZM<WJIBG_%nd?p4HW3`_SSiEWwOC8xf!rWB$t^k2%|!chdv0#"
    "_N;~6tmEtu;9O7W83OUw#f4j2xR7+Yb=|D;AB`vX0Ia1Q$lA1=)zDAI#1EytYQ;})$cNDgi?#rpYxC!w(&TSv%fVL5j;"
    "Wh7}e$(TyC>y)H!CeSgROCFd^k|To-N6`v%SF@j;T$CyfQW`l9?1YHnE(i5=)K1@goz`k6AJT&Vni>NT>Glu4xsHyp50"
    "%(7fBl880Iw3U{E2%)}i|QL{A@JPNV{Y3DO+gojcrAzu2jiqX3fXnHQ<Y(?Vcily0i5o6MGqEseEhIek!dIbvO1-p88u"
    "m6QZ>fQIWDy#jFokdyUXq?rO>0fT|58pBwBVDZ7KfP(5i?CwV|!2+4az)&`j5U}}PLiN2UMqR_6L~)$1<z851up$tI9w"
    "Q&a+S|?x-~I#g^$YO"
)
OLD_NAMES = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
OLD_PANDAS_NAMES = {
    "DataFrame": "pandas.core.frame",
    "Index": "pandas.core.indexes.base",
    "RangeIndex": "pandas.core.indexes.range",
}


def written(tmp_path, data):
    file = tmp_path / "table.pkl"
    file.write_bytes(data)
    return file


def frame():
    """Every kind of column that a reader has use for; strings as the installed pandas has them."""
    columns = {
        "text": ["x", "é 漢字", None],
        "more": ["", "two\nlines", "three"],
        "score": pd.Series([1.0, True, None], dtype="object"),
        "scalar": pd.Series([np.float64(0.5), np.bool_(True), 3], dtype="object"),
        "cost": [0.1, float("nan"), 0.3],
        "right": [True, False, True],
        "count": np.array([1, 2, 3], dtype="int32"),
        "big": np.array([1, 2, 3], dtype=">i8"),
        "again": [0.4, 0.5, 0.6],
    }
    return pd.DataFrame(columns)


def like(one, other):
    assert list(one.columns) == list(other.columns)
    assert (one.dtypes == "object").all()
    for name in one:
        same = [
            a == b or (pd.isna(a) and pd.isna(b))
            for a, b in zip(one[name], other[name], strict=True)
        ]
        assert all(same), name


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "change",
    [
        lambda table: table,
        lambda table: table.astype({"text": "object", "more": "object"}),
        lambda table: table.iloc[1:],
        lambda table: table.sort_values("score", key=lambda s: s.astype("float")),
        lambda table: table.set_axis(table.columns.astype("object"), axis="columns"),
        lambda table: table.set_axis([7, 8, 9]).rename_axis(index="idx"),
        lambda table: table[table.columns[::-1]],
        lambda table: table.iloc[:0],
        lambda table: pd.DataFrame(np.asfortranarray(np.arange(6.0).reshape(2, 3))),
        lambda table: pd.DataFrame(np.asfortranarray([["a", 1], [None, 2.5]], dtype="object")),
        lambda table: table[["cost", "right", "again"]].copy(),
    ],
)
def test_what_the_installed_pandas_pickles_is_read(tmp_path, protocol, change):
    table = change(frame())
    like(read_frame(written(tmp_path, pickle.dumps(table, protocol))), table)


def test_a_pickle_of_older_pandas_is_read(tmp_path):
    table = read_frame(written(tmp_path, zlib.decompress(base64.b85decode(OLD_PANDAS))))
    assert table["sample_id"].tolist() == ["mmlu-anatomy.val.1", "mbpp.dev.2", "mtbench.dev.3"]
    assert table["gpt-4-1106-preview"].tolist() == [1.0, True, 0.9]
    assert table["mistralai/mistral-7b-chat|total_cost"].tolist() == [0.1, 0.2, 0.3]
    assert table["oracle_model_to_route_to"].tolist() == ["gpt-4-1106-preview"] * 3


class _OldNames(pickle._Pickler):
    """Writes today's objects under the modules they had in pandas 1.5 and 2 and in NumPy 1."""

    def save_global(self, obj, name=None):
        name = name or obj.__qualname__
        module = OLD_NAMES.get(obj.__module__, obj.__module__)
        if module == "pandas":
            module = OLD_PANDAS_NAMES[name]
        self.write(b"c" + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = pickle._Pickler.dispatch | {
        type(len): save_global,
        type(frame): save_global,
        type: save_global,
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_module_paths_of_older_versions_are_known(tmp_path, protocol):
    table = frame().astype({"text": "object", "more": "object"})
    table = table.set_axis(table.columns.astype("object"), axis="columns")
    out = io.BytesIO()
    _OldNames(out, protocol).dump(table)
    assert b"numpy.core.multiarray" in out.getvalue() and b"pandas.core.frame" in out.getvalue()
    like(read_frame(written(tmp_path, out.getvalue())), table)


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, r"\w+\.system"), (builtins.eval, r"\w+\.eval")]
)
def test_a_call_is_refused_and_not_made(tmp_path, protocol, function, name):
    proof = tmp_path / "proof"
    line = f"touch {proof}" if function is os.system else f"open({str(proof)!r}, 'w')"
    table = pd.DataFrame({"a": pd.Series([_Calls(function, line)], dtype="object")})
    file = written(tmp_path, pickle.dumps(table, protocol))
    with pytest.raises(TableError, match=f"table.pkl: the pickle asks for {name}, .* refused"):
        read_frame(file)
    assert not proof.exists()
    if protocol == 2 and function is os.system:
        pickle.loads(file.read_bytes())  # the same bytes do harm where pickle itself reads them
        assert proof.exists()


@pytest.mark.parametrize(
    "name",
    ["numpy.load", "numpy.core.multiarray.fromfile", "pandas.io.common.get_handle", "a.b.c"],
)
def test_what_is_near_to_what_is_known_is_refused_too(tmp_path, name):
    module, _, function = name.rpartition(".")
    with pytest.raises(TableError, match=f"asks for {name}, which is refused"):
        read_frame(written(tmp_path, f"c{module}\n{function}\n.".encode()))


def test_numbers_may_not_pose_as_objects(tmp_path):
    """Real NumPy takes the type's flags from the pickle, and with them addresses for objects."""
    dtype = (
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8I00\nI01\ntR(I3\nX\x01\x00\x00\x00|NNNI-1\nI-1\nI0\ntb"
    )
    forged = (
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntX\x01\x00\x00\x00btR"
        b"(I1\n(I1\nt" + dtype + b"I00\nC\x08" + struct.pack("<q", 4096) + b"tb."
    )
    with pytest.raises(TableError, match="table.pkl"):
        read_frame(written(tmp_path, forged))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        pickle.dumps({"a": 1}),
        pickle.dumps(pd.DataFrame({"a": [1.5]}))[:-20],
        pickle.dumps(pd.DataFrame({"a": pd.to_datetime(["2024-01-01"])})),
        pickle.dumps(pd.DataFrame({"a": [1j]})),
        pickle.dumps(pd.DataFrame([[1, 2]], columns=["a", "a"])),
        b"cpandas\nDataFrame\n.",
        b"cpandas\nDataFrame\n)\x81.",
        b"cpandas.core.indexes.base\n_new_Index\n(NX\x12\x00\x00\x00__setstate__ is itt}b.",
    ],
)
def test_anything_but_a_table_of_plain_values_is_one_line(tmp_path, data):
    with pytest.raises(TableError, match=r"table\.pkl: ") as refused:
        read_frame(written(tmp_path, data))
    assert "\n" not in str(refused.value)


def test_a_pickle_cannot_change_what_answers_it(tmp_path):
    """BUILD sets attributes on whatever is on the stack, so a function there must be a copy."""
    change = b"cnumpy.core.numeric\n_frombuffer\n(N}X\x0c\x00\x00\x00__defaults__(I1\ntstb."
    with pytest.raises(TableError, match="holds no DataFrame"):
        read_frame(written(tmp_path, change))
    table = pd.DataFrame({"a": [1.5, 2.5]})
    like(read_frame(written(tmp_path, pickle.dumps(table, 5))), table)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(TableError, match=r"none\.pkl: not a pickled DataFrame: FileNotFound"):
        read_frame(tmp_path / "none.pkl")
