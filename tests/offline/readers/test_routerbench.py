from __future__ import annotations

import math
import os

import pandas as pd
import pytest

from serve.errors import TableError
from serve.offline.readers.routerbench import read
from serve.offline.table import RoutingTable

GPT, OTHER = "gpt-4-1106-preview", "somebody/another-model"
IDS = ["mmlu-anatomy.val.1", "mbpp.dev.2", "mtbench.dev.3"]


def wide():
    """The columns of routerbench_0shot.pkl in their order: keys, scores, responses, costs."""
    columns = {
        "sample_id": IDS,
        "prompt": ["['Which bone?\\nA) x']", "['Write it.']", "['First turn', \"It's the 2nd\"]"],
        "eval_name": ["mmlu-anatomy", "mbpp", "mtbench"],
        GPT: pd.Series([1.0, True, 0.9], dtype="object"),
        OTHER: pd.Series([False, None, 0.25], dtype="object"),
        f"{OTHER}|model_response": ["['A']", "[not a list]", "['one', 'two']"],
        f"{GPT}|model_response": ["['B)']", "['def f(): ...']", None],
        f"{OTHER}|total_cost": [1e-5, 2e-5, float("nan")],
        f"{GPT}|total_cost": [1e-3, 2e-3, 3e-3],
        "oracle_model_to_route_to": [GPT, GPT, "no_model_correct"],
    }
    return pd.DataFrame(columns)


def long():
    """The columns of routerbench_raw.pkl."""
    rows = [
        [IDS[0], "['Which bone?']", "mmlu-anatomy", OTHER, "['A']", False, 1e-5],
        [IDS[0], "['Which bone?']", "mmlu-anatomy", GPT, "['B']", 1.0, 1e-3],
        [IDS[1], "['Write it.']", "mbpp", GPT, "['def f(): ...']", 0.5, 2e-3],
    ]
    names = ["sample_id", "prompt", "eval_name", "model_name", "model_response"]
    return pd.DataFrame(rows, columns=[*names, "performance", "cost"])


def written(tmp_path, frame, protocol=5):
    file = tmp_path / "routerbench_0shot.pkl"
    frame.to_pickle(file, protocol=protocol)
    return file


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("text", ["object", "str"])
def test_a_row_per_prompt_is_read(tmp_path, protocol, text):
    frame = wide()
    names = [name for name in frame if name.endswith("response")] + ["sample_id", "prompt"]
    frame = frame.astype(dict.fromkeys(names, text)).rename_axis(index="idx")
    frame.columns = frame.columns.astype(text)
    table = read(written(tmp_path, frame, protocol))
    assert table.experts == [GPT, OTHER]
    assert list(table.prompts.index) == IDS
    assert list(table.prompts["task"]) == ["mmlu-anatomy", "mbpp", "mtbench"]
    assert table.prompts.loc[IDS[2], "prompt"] == "First turn\nIt's the 2nd"
    assert list(table.quality[GPT]) == [1.0, 1.0, 0.9]
    assert table.quality.loc[IDS[0], OTHER] == 0.0 and math.isnan(table.quality.loc[IDS[1], OTHER])
    assert table.tensors["cost_usd"].loc[IDS[1], GPT] == 2e-3
    assert math.isnan(table.tensors["cost_usd"].loc[IDS[2], OTHER])
    answers = table.tensors["answers"]
    assert list(answers[OTHER]) == ["A", "[not a list]", "one\ntwo"]
    assert pd.isna(answers.loc[IDS[2], GPT])
    assert table.meta["prices_usd_per_million_tokens"] == {GPT: {"input": 10.0, "output": 30.0}}


def test_a_row_per_prompt_and_expert_is_read(tmp_path):
    table = read(written(tmp_path, long()))
    assert table.experts == [OTHER, GPT]
    assert list(table.prompts.index) == IDS[:2]
    assert list(table.quality[GPT]) == [1.0, 0.5]
    assert table.quality.loc[IDS[0], OTHER] == 0.0 and math.isnan(table.quality.loc[IDS[1], OTHER])
    assert table.tensors["cost_usd"].loc[IDS[0], OTHER] == 1e-5
    assert table.tensors["answers"].loc[IDS[0], GPT] == "B"
    assert pd.isna(table.tensors["answers"].loc[IDS[1], OTHER])


@pytest.mark.parametrize("frame", [wide(), long()])
def test_what_was_read_survives_saving(tmp_path, frame):
    table = read(written(tmp_path, frame))
    table.save(tmp_path / "table")
    loaded = RoutingTable.load(tmp_path / "table")
    pd.testing.assert_frame_equal(loaded.prompts, table.prompts)
    pd.testing.assert_frame_equal(loaded.quality, table.quality)
    for stem, tensor in table.tensors.items():
        pd.testing.assert_frame_equal(loaded.tensors[stem], tensor)
    assert loaded.meta == table.meta


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="eval_name"), "columns missing: eval_name"),
        (lambda f: f.drop(columns=GPT), f"columns missing: {GPT}"),
        (lambda f: f.drop(columns=f"{GPT}|total_cost"), rf"columns missing: {GPT}\|total_cost"),
        (lambda f: f[["sample_id", "prompt"]], r"columns missing: <expert>\|model_response"),
        (lambda f: f.assign(extra=1), "unknown columns: extra"),
        (lambda f: f.assign(sample_id=[IDS[0], IDS[1], IDS[0]]), f"id '{IDS[0]}' occurs twice"),
        (lambda f: f.assign(sample_id=[IDS[0], None, IDS[2]]), "a row has no sample_id"),
        (lambda f: f.assign(prompt=["['x']", None, "['x']"]), f"prompt '{IDS[1]}' has no prompt"),
        (lambda f: f.assign(prompt=["['x']", "['']", "x"]), f"prompt '{IDS[1]}' has no prompt"),
        (lambda f: f.assign(eval_name=["", "a", "a"]), f"prompt '{IDS[0]}' has no task"),
        (lambda f: f.assign(**{GPT: [1, 0, 7.5]}), rf"'{IDS[2]}' has a score outside 0\.\.1"),
        (lambda f: f.assign(**{OTHER: [1, -1, 0]}), rf"'{IDS[1]}' has a score outside 0\.\.1"),
        (lambda f: f.assign(**{GPT: ["good", 1, 1]}), "a score is not a number: .*'good'"),
        (lambda f: f.assign(**{f"{GPT}|total_cost": ["$1", 1, 1]}), "a cost is not a number"),
    ],
)
def test_a_mistake_names_file_and_id(tmp_path, change, message):
    with pytest.raises(TableError, match=r"routerbench_0shot\.pkl: .*" + message):
        read(written(tmp_path, change(wide())))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="cost"), "columns missing: cost"),
        (lambda f: f.assign(extra=1), "unknown columns: extra"),
        (lambda f: f.assign(model_name=GPT), f"prompt '{IDS[0]}' occurs twice for '{GPT}'"),
        (lambda f: f.assign(model_name=[GPT, None, GPT]), "no sample_id or no model_name"),
        (lambda f: f.assign(prompt=["a", "b", "c"]), f"prompt id '{IDS[0]}' occurs twice"),
    ],
)
def test_a_mistake_in_the_long_form_does_so_too(tmp_path, change, message):
    with pytest.raises(TableError, match=r"routerbench_0shot\.pkl: .*" + message):
        read(written(tmp_path, change(long())))


class _Touch:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_a_pickle_with_a_call_is_refused(tmp_path):
    answers = pd.Series([_Touch(tmp_path / "proof"), "['a']", "['b']"], dtype="object")
    file = written(tmp_path, wide().assign(**{f"{GPT}|model_response": answers}))
    with pytest.raises(TableError, match=r"asks for \w+\.system, which is refused"):
        read(file)
    assert not (tmp_path / "proof").exists()
