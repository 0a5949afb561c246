from __future__ import annotations

import numpy as np

from serve.offline.plots import plot, plot_reliability
from serve.offline.results import Line, Reliable


def test_a_picture_is_written_twice_alike(tmp_path):
    budget = np.linspace(0.001, 0.1, 200)
    rising = 0.6 + 0.2 * np.linspace(0, 1, 200)
    lines = [
        Line("t", "prompts", name, 5, budget, rising - d, rising - d - 0.01, rising - d + 0.01)
        for name, d in (("default", 0.0), ("knn", 0.03))
    ]
    points = {"small": (0.001, 0.55), "org/large": (0.1, 0.75)}
    for name in ("a", "b"):
        plot(lines, points, "t, prompts", tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    text = (tmp_path / "a.svg").read_text()
    assert "<svg" in text and "budget" not in text.split("<svg")[0]


def test_calibration_is_drawn(tmp_path):
    bins = np.array([[0.2, 0.8], [0.25, 0.7], [0.4, 0.6]])
    plot_reliability([Reliable("t", "prompts", "default", *bins)], "t", tmp_path / "t.calibration")
    assert (tmp_path / "t.calibration.png").exists()
    assert "<svg" in (tmp_path / "t.calibration.svg").read_text()
