from __future__ import annotations

import pytest
import torch

from recgan import losses
from recgan.training.softmax import log_sums


@pytest.mark.parametrize("n_chosen", [0, 3])
@pytest.mark.parametrize("with_added", [True, False])
def test_log_sums_are_those_of_the_whole_matrix(n_chosen, with_added):
    torch.manual_seed(0)
    wanted, vectors = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (5, 9))
    added = torch.randn(5, 9, dtype=torch.float64) if with_added else None
    left_out = torch.tensor([0, 0, 2, 2]), torch.tensor([1, 8, 3, 3])
    chosen = torch.randint(0, 9, (5, n_chosen))

    def plain(wanted: torch.Tensor, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = wanted @ vectors.T + (0.0 if added is None else added)
        return logits.gather(1, chosen), logits.index_put(left_out, torch.tensor(-torch.inf).double()).logsumexp(
            1, True
        )

    def ours(wanted: torch.Tensor, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return log_sums(wanted, vectors, added, left_out, chosen)

    for found, expected in zip(ours(wanted, vectors), plain(wanted, vectors), strict=True):
        torch.testing.assert_close(found, expected)
    torch.autograd.gradcheck(ours, (wanted, vectors))


def test_where_all_is_left_out_nothing_counts():
    wanted, vectors = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    left_out = torch.tensor([0, 0]), torch.tensor([0, 1])
    _, rest = log_sums(wanted, vectors, None, left_out, torch.empty(2, 0, dtype=torch.int64))
    assert rest[0] == -torch.inf
    losses.sampled_loss(torch.zeros(2, 1), rest, 3.0, torch.ones(2, 1, dtype=torch.bool)).backward()
    assert not wanted.grad[0].any()
    assert wanted.grad[1].any()
    assert torch.isfinite(vectors.grad).all()
