from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from serve.errors import SettingsError
from serve.request_log import RequestLog, find, read_log

LINES = 300


def write(file, name):
    log = RequestLog(file)
    for i in range(LINES):
        log.write({"name": name, "i": i, "messages": [{"content": "x" * 20_000}]})
    until(lambda: sum(r["name"] == name for r in read_log(file)) == LINES)


def until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_replicas_share_a_file_and_no_line_is_mixed(tmp_path):
    file = tmp_path / "new" / "requests.jsonl"
    context = multiprocessing.get_context("spawn")
    replicas = [context.Process(target=write, args=(file, name)) for name in "ab"]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 2 * LINES
    for name in "ab":
        assert [r["i"] for r in records if r["name"] == name] == list(range(LINES))


def test_only_its_owner_may_read_it(tmp_path):
    RequestLog(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").stat().st_mode & 0o077 == 0


def test_half_a_surrogate_pair_is_no_reason_to_lose_the_line(tmp_path):
    log = RequestLog(tmp_path / "r.jsonl")
    log.write({"messages": "\ud83d"})
    until(lambda: len(list(read_log(tmp_path / "r.jsonl"))) == 1)


def test_a_line_cut_short_is_passed_over(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n{"a": 2\n[3]\n{"a": 4}')
    assert [record["a"] for record in read_log(tmp_path / "r.jsonl")] == [1, 4]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(SettingsError, match="records.log: .* cannot be written: Is a directory"):
        RequestLog(tmp_path)


def test_a_full_disk_loses_lines_and_nothing_else(caplog):
    log = RequestLog(Path("/dev/full"))
    for i in range(100):
        log.write({"i": i})
    until(lambda: log._lines.empty())
    assert caplog.text.count("cannot be written: No space left on device") == 1


def test_the_last_record_of_a_request_is_found_and_only_its_own(tmp_path):
    file = tmp_path / "r.jsonl"
    log = RequestLog(file)
    odd = 'a"\\ü\n'
    for i in range(3):
        log.write({"request_id": "r1", "i": i})
        log.write({"request_id": odd, "i": i})
    log.write({"request_id": "r10", "i": 9, "messages": '"request_id":"r1"'})
    until(lambda: len(list(read_log(file))) == 7)
    with file.open("a") as cut:
        cut.write('{"request_id":"r1","i":')
    assert find(file, "r1") == {"request_id": "r1", "i": 2}
    assert find(file, odd) == {"request_id": odd, "i": 2}
    assert find(file, "r") is None


def test_an_empty_log_holds_nobody_and_no_log_is_one_line(tmp_path):
    (tmp_path / "r.jsonl").touch()
    assert find(tmp_path / "r.jsonl", "r1") is None
    with pytest.raises(SettingsError, match="no request log here"):
        find(tmp_path / "none", "r1")


def test_a_large_log_is_searched_from_its_end(tmp_path):
    file = tmp_path / "r.jsonl"
    line = json.dumps({"request_id": "old", "x": "y" * 1000}, separators=(",", ":")) + "\n"
    with file.open("w") as log:
        log.write(line * 100_000)
        log.write('{"request_id":"new"}\n')
    new, its_s = timed(file, "new")
    none, whole_s = timed(file, "none")
    assert (new, none) == ({"request_id": "new"}, None)
    assert its_s < whole_s / 5


def timed(file, request_id):
    began = time.perf_counter()
    found = find(file, request_id)
    return found, time.perf_counter() - began
