"""Whether matrices of bfloat16 are multiplied faster than those of float32."""

from __future__ import annotations

import torch

FAST = ("amx_bf16", "avx512_bf16")
"""Instructions that do: of Intel from 2023 on, of AMD from 2022 on."""


def fast(device: str = "cpu") -> bool:
    """Whether a kind of device, "cpu" or "cuda", multiplies them several times as fast."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    told: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device == "cpu" and any(told.get(name) for name in FAST) and bool(torch.backends.mkldnn.enabled)
