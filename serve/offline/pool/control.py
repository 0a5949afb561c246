"""A mean from few prompts, corrected by what is known of those prompts: a control variate."""

from __future__ import annotations

import numpy as np

from serve.protocol import Doubles, Floats


def controlled_mean(values: Doubles | Floats, control: Doubles, overall: float) -> float:
    """The mean that values would have over all prompts, from their values on n of them.

    If the n prompts were harder than all are, which the known experts' answers to both tell, the
    new expert's mean on them is too low by so much as it goes along with the known ones'. Of its
    variance 1 - r^2 is left, r the correlation of values and control.

    Args:
        values: (n,) of the new expert.
        control: (n,) of the known ones on the same prompts.
        overall: mean of the control over all prompts.
    """
    spread = control - control.mean()
    variance = float(spread @ spread)
    slope = float(spread @ values) / variance if variance > 0 else 0.0
    return float(np.mean(values)) - slope * (float(control.mean()) - overall)
