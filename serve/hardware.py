"""What this machine computes fastest in."""

from __future__ import annotations

import torch


def cpu_dtype() -> str:
    """The name of the dtype for models on this CPU.

    bfloat16 is two to three times faster than float32 where oneDNN has kernels for it (AVX-512,
    AMX), and eight times slower where it has not (AVX2).
    """
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"
