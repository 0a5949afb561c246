from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from serve.errors import TableError
from serve.offline.readers.llmrouter import FILES, read
from serve.offline.table import RoutingTable

QWEN, LLAMA = "qwen2.5-7b-instruct", "llama-3.1-8b-instruct"
LINE = {
    "task_name": "gsm8k",
    "query": "Janet has 4 apples. She gives 2 to Bob. How many does she have left?",
    "ground_truth": "2",
    "metric": "GSM8K",
    "choices": None,
    "task_id": None,
    "model_name": QWEN,
    "response": "4 - 2 = 2 apples left.",
    "token_num": 500,
    "input_tokens": 400,
    "output_tokens": 100,
    "response_time": 1.5,
    "api_key_used": "rivTkKeBPm",
    "performance": 1.0,
    "embedding_id": 42,
    "user_id": None,
    "fig_id": None,
}
CODE = LINE | {"task_name": "mbpp", "query": "Sort.", "embedding_id": 7, "metric": "code_eval"}
CODE |= {"ground_truth": ["assert f([2, 1]) == [1, 2]"], "performance": 0.5}
PRICE = {"size": "7B", "input_price": 0.2, "output_price": 0.4, "model": "x", "service": "NVIDIA"}


def written(folder, split, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILES[split]
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return file


@pytest.fixture
def folder(tmp_path):
    failed = {"response": "API Error: Request timed out", "performance": 0.0, "input_tokens": 12}
    written(
        tmp_path / "routing_data",
        "train",
        LINE,
        CODE,
        LINE | {"model_name": LLAMA, "performance": 0, "response": "3"},
        CODE | {"model_name": LLAMA} | failed,
    )
    written(tmp_path / "routing_data", "test", LINE | {"performance": None, "response": None})
    (tmp_path / "llm_candidates").mkdir()
    (tmp_path / "llm_candidates/default_llm.json").write_text(json.dumps({QWEN: PRICE}))
    return tmp_path


def test_a_line_per_prompt_and_expert_becomes_matrices(folder):
    table = read(folder)
    assert table.experts == [QWEN, LLAMA]
    assert list(table.prompts.index) == ["train-42", "train-7", "test-42"]
    assert list(table.prompts["split"]) == ["train", "train", "test"]
    assert list(table.prompts["task"]) == ["gsm8k", "mbpp", "gsm8k"]
    assert list(table.prompts["answer"]) == ["2", '["assert f([2, 1]) == [1, 2]"]', "2"]
    assert list(table.quality.loc["train-42"]) == [1.0, 0.0]
    assert table.quality.loc["train-7", QWEN] == 0.5
    assert table.tensors["answers"].loc["train-42", LLAMA] == "3"
    assert table.tensors["latency_s"].loc["train-42", QWEN] == 1.5


def test_what_was_not_measured_is_nan(folder):
    table = read(folder)
    assert table.quality.loc["test-42"].isna().all()
    for stem in ("in_tokens", "out_tokens", "latency_s"):
        assert math.isnan(table.tensors[stem].loc["test-42", LLAMA])


def test_a_failed_call_is_not_a_wrong_answer(folder):
    table = read(folder)
    assert math.isnan(table.quality.loc["train-7", LLAMA])
    assert math.isnan(table.tensors["in_tokens"].loc["train-7", LLAMA])
    assert table.meta["failed_calls"] == 1


def test_prices_make_costs(folder):
    table = read(folder)
    cost = table.tensors["cost_usd"]
    assert cost.loc["train-42", QWEN] == pytest.approx((400 * 0.2 + 100 * 0.4) / 1e6)
    assert cost[LLAMA].isna().all()
    assert table.meta["prices_usd_per_million_tokens"] == {QWEN: {"input": 0.2, "output": 0.4}}


def test_one_file_has_no_prices_and_a_line_may_be_bare(tmp_path):
    bare = ("response", "token_num", "input_tokens", "output_tokens", "response_time")
    line = {key: value for key, value in LINE.items() if key not in bare}
    table = read(written(tmp_path, "test", line))
    assert table.tensors == {} and table.quality.loc["test-42", QWEN] == 1.0
    assert "prices_usd_per_million_tokens" not in table.meta


def test_what_was_read_survives_saving_without_a_piece_of_a_key(folder, tmp_path):
    table = read(folder)
    table.save(tmp_path / "table")
    loaded = RoutingTable.load(tmp_path / "table")
    pd.testing.assert_frame_equal(loaded.prompts, table.prompts)
    pd.testing.assert_frame_equal(loaded.quality, table.quality)
    for stem, tensor in table.tensors.items():
        pd.testing.assert_frame_equal(loaded.tensors[stem], tensor)
    assert loaded.meta == table.meta
    files = (tmp_path / "table").iterdir()
    assert not any(b"rivTkKeBPm" in file.read_bytes() for file in files)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], ":1: not JSON"),
        (["[]"], ":1: not a JSON object"),
        ([LINE, {"query": "Hi?"}], ":2: keys missing: embedding_id, task_name, ground_truth"),
        ([LINE | {"cost": 1}], ":1: unknown keys: cost"),
        ([LINE | {"embedding_id": None}], ":1: embedding_id is null"),
        ([LINE | {"query": None}], "prompt 'train-42' has no query"),
        ([LINE | {"query": ""}], "prompt 'train-42' has no query"),
        ([LINE, LINE], f"prompt id 'train-42' occurs twice for '{QWEN}'"),
        ([LINE, LINE | {"model_name": LLAMA, "query": "?"}], "'train-42' occurs twice, with two"),
        ([LINE | {"performance": 1.5}], r"prompt 'train-42' has a score outside 0\.\.1"),
        ([LINE | {"performance": "good"}], "performance is not a number"),
        ([LINE | {"input_tokens": "many"}], "input_tokens is not a number"),
        ([], r"holds no lines"),
    ],
)
def test_a_mistake_names_file_and_id(tmp_path, lines, message):
    with pytest.raises(TableError, match=message):
        read(written(tmp_path, "train", *lines))


def test_a_folder_without_such_files_and_bad_prices_are_refused(tmp_path):
    with pytest.raises(TableError, match="no default_routing_train_data.jsonl and no default_"):
        read(tmp_path)
    written(tmp_path, "train", LINE)
    (tmp_path / "default_llm.json").write_text(json.dumps({QWEN: {"size": "7B"}}))
    with pytest.raises(TableError, match=r"default_llm.json: not prices by expert: .*input_price"):
        read(tmp_path)
