from __future__ import annotations

import json

from serve.sizing.asks import GIB, Ask, Bundle
from serve.sizing.models import Model
from serve.sizing.report import Report
from serve.sizing.shortfalls import Finding

FOUND = [
    Finding("experts[0].autoscaling.max_replicas", "4, and there is room for 2", missing=False),
    Finding("experts[1].accelerator_type", "L4: 1 GPU of it asked for, 0 here"),
]


def report(machine, node, findings=FOUND):
    small = Model("small", "cache", "/c", bytes=GIB // 2)
    big = Model("org/big-8B", "to download", "/h", 16 * GIB, True, 16 * GIB, 1, 99 * GIB)
    rows = [
        Ask("experts[0]", "a", (1, 4), (Bundle(0.5),), small, GIB, 0.9, 3 * GIB),
        Ask("experts[1]", "b", (1, 1), (Bundle(1, 1, "L4"),), big, None, 0.9, 3 * GIB),
        Ask("experts[2]", "c", (0, 0), elsewhere="http://c/v1"),
    ]
    return Report("f.yaml", rows, machine(node(cpus=4.0)), {"port 8000": "free"}, findings)


def test_the_table_is_aligned_and_the_missing_come_first(machine, node):
    assert report(machine, node).text().splitlines() == [
        "       replicas  CPUs   GPUs  memory         KV cache       weights             model",
        "a      1-4       0.5-2        ~4.5-18.0 GiB  1.0 GiB        0.5 GiB             "
        "small (in the cache)",
        "b      1         1      1 L4  ~3.0 GiB       to 90% of GPU  ~16.0 GiB           "
        "org/big-8B (to download)",
        "c" + 79 * " " + "elsewhere: http://c/v1",
        "total            1.5-3  1 L4  ~7.5-21.0 GiB                 ~16.0 GiB to write",
        "here             4      none  64.0 GiB                      99.0 GiB free       a machine",
        "",
        "port 8000: free",
        "",
        "missing: experts[1].accelerator_type: L4: 1 GPU of it asked for, 0 here",
        "warning: experts[0].autoscaling.max_replicas: 4, and there is room for 2",
        "",
        "f.yaml: 1 missing in a machine",
    ]


def test_where_nothing_is_missing_the_last_line_says_so(machine, node):
    assert report(machine, node, FOUND[:1]).text().endswith("f.yaml: in order, for a machine")


def test_a_machine_reads_the_same(machine, node):
    said = json.loads(report(machine, node).json())
    assert [ask["at_most"]["cpus"] for ask in said["asks"]] == [2.0, 1, 0]
    assert said["total"]["at_most"]["gpus"] == {"L4": 1}
    assert said["total"]["at_least"]["memory_bytes"] == 7.5 * GIB
    assert said["asks"][1]["model"]["folder"] == "/h"
    assert said["cluster"]["nodes"][0]["cpus"] == 4.0
    assert said["missing"] == [{"key": FOUND[1].key, "text": FOUND[1].text}]
    assert said["warnings"] == [{"key": FOUND[0].key, "text": FOUND[0].text}]
    assert said["surroundings"] == {"port 8000": "free"}
