from __future__ import annotations

import pytest
import torch

from recgan.halves import fast


@pytest.mark.parametrize(
    ("told", "enabled", "answer"),
    [
        ({}, True, False),
        ({"avx2": True, "amx_bf16": False}, True, False),
        ({"amx_bf16": True}, True, True),
        ({"avx512_bf16": True, "amx_bf16": False}, True, True),
        ({"avx512_bf16": True}, False, False),
    ],
)
def test_products_of_bfloat16_are_fast_where_processor_and_library_have_them(told, enabled, answer, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", enabled)
    assert fast() is answer


def test_a_torch_that_tells_nothing_of_the_processor_is_not_fast(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not fast()


def test_of_other_devices_only_those_of_cuda_may_be_fast(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert fast("cuda")
    assert not fast("mps")
