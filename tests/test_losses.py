from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan import losses

KINDS = ["relativistic", "non-saturating", "wgan-gp", "hinge"]


def test_ranking_loss_by_hand():
    logits = torch.log(torch.tensor([[1.0, 1.0, 2.0], [1.0, 3.0, 4.0]]))
    targets, mask = torch.tensor([[2, 0], [1, 2]]), torch.tensor([[True, False], [True, True]])
    first, second = -math.log(2 / 4), -(math.log(3 / 8) + math.log(4 / 8)) / 2
    expected = (first + 2**0.5 * second) / (1 + 2**0.5)
    assert float(losses.ranking_loss(logits, targets, mask)) == pytest.approx(expected, rel=1e-6)


def test_set_likelihood_rewards_one_draw_that_explains_all():
    sharp = torch.tensor([[[5.0, 5.0, 0.0, 0.0], [0.0, 0.0, 5.0, 5.0]]])
    mixed = torch.tensor([[[5.0, 0.0, 5.0, 0.0], [0.0, 5.0, 0.0, 5.0]]])
    targets, mask = torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)
    assert losses.set_likelihood_loss(sharp, targets, mask) < losses.set_likelihood_loss(mixed, targets, mask)


def test_set_likelihood_of_equal_draws_is_the_mean_log_likelihood():
    logits = torch.randn(3, 1, 6).expand(3, 4, 6)
    targets, mask = torch.tensor([[0, 1], [2, 3], [4, 5]]), torch.tensor([[1, 1], [1, 0], [0, 0]], dtype=torch.bool)
    logp = logits[:, 0].log_softmax(1).gather(1, targets)
    expected = -(logp[0].mean() + logp[1, 0]) / 2
    torch.testing.assert_close(losses.set_likelihood_loss(logits, targets, mask), expected)


def test_listwise_loss_by_hand():
    logits = torch.tensor([[1.0, 0.0, 2.0, 9.0]])
    positive = torch.tensor([[True, False, True, False]])
    present = torch.tensor([[True, True, True, False]])
    first = -math.log(math.e / (math.e + 1))
    second = -math.log(math.e**2 / (math.e**2 + 1))
    loss = float(losses.listwise_loss(logits, positive, present))
    assert loss == pytest.approx((first + second) / 2, rel=1e-5)
    nobody = torch.zeros_like(positive)
    assert float(losses.listwise_loss(logits, nobody, present)) == 0.0


def test_sampled_ranking_loss_equals_the_full_one_when_everything_is_sampled():
    logits = torch.randn(4, 9)
    targets, mask = torch.tensor([[0], [3], [8], [5]]), torch.ones(4, 1, dtype=torch.bool)
    pool = torch.arange(9)
    full = losses.ranking_loss(logits, targets, mask)
    sampled = losses.sampled_ranking_loss(logits.gather(1, targets), logits, targets, mask, pool, 9)
    torch.testing.assert_close(sampled, full)


@pytest.mark.parametrize("kind", KINDS)
def test_players_want_opposite_things(kind):
    real, fake = torch.randn(50, requires_grad=True), torch.randn(50, requires_grad=True)
    losses.discriminator_loss(kind, real, fake).backward()
    assert (fake.grad >= 0).all()
    assert (real.grad <= 0).all()
    push = torch.autograd.grad(losses.generator_loss(kind, real.detach(), fake), fake)[0]
    assert (push <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind):
    torch.manual_seed(0)
    real, fake = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    real.requires_grad_(), fake.requires_grad_()
    torch.autograd.gradcheck(lambda r, f: losses.discriminator_loss(kind, r, f), (real, fake))
    torch.autograd.gradcheck(lambda r, f: losses.generator_loss(kind, r, f), (real, fake))
    logits = torch.randn(3, 2, 7, dtype=torch.float64, requires_grad=True)
    targets, mask = torch.randint(0, 7, (3, 4)), torch.rand(3, 4) < 0.7
    torch.autograd.gradcheck(lambda x: losses.set_likelihood_loss(x, targets, mask), (logits,))
    torch.autograd.gradcheck(lambda x: losses.ranking_loss(x[:, 0], targets, mask), (logits,))


def test_gradient_penalty_of_a_linear_judge_is_known():
    weight = torch.tensor([3.0, 4.0])
    vectors = torch.randn(2, 3, 2)  # slates of three items: the gradient is that of the whole slate
    mixing = torch.rand(2, 1, 1)
    for kind, wanted in (("relativistic", 75.0), ("wgan-gp", (75.0**0.5 - 1.0) ** 2)):
        real, fake, penalty = losses.judged(kind, lambda v: (v @ weight).sum(1), vectors, vectors + 1, mixing)
        assert float(penalty) == pytest.approx(wanted)
        torch.testing.assert_close(real, (vectors @ weight).sum(1), check_stride=False)
        torch.testing.assert_close(fake, real + 21.0)


@pytest.mark.parametrize("kind", ["hinge", "wgan-gp"])
def test_gradient_penalty_reaches_the_judge_and_nothing_else(kind):
    judge = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.GELU(), torch.nn.Linear(4, 1))
    real, fake = torch.randn(2, 3, 2), torch.randn(2, 3, 2, requires_grad=True)
    *logits, penalty = losses.judged(kind, lambda v: judge(v).sum((1, 2)), real, fake, torch.rand(2, 1, 1))
    (sum(logits).sum() + penalty).backward()
    assert judge[0].weight.grad.abs().sum() > 0
    assert fake.grad is None


def test_straight_through_is_the_item_forwards_and_the_mean_backwards():
    logits = torch.randn(2, 5, requires_grad=True)
    vectors = torch.randn(5, 3)
    numbers = torch.tensor([[1, 4], [0, 0]])
    snapped = losses.straight_through_items(logits, vectors, numbers)
    torch.testing.assert_close(snapped, vectors[numbers])
    gradient = torch.autograd.grad(snapped.sum(), logits)[0]
    expected = torch.autograd.grad(2 * (logits.softmax(-1) @ vectors).sum(), logits)[0]
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("loss", [losses.discriminator_loss, losses.generator_loss])
def test_unknown_kind(loss):
    with pytest.raises(ValueError, match="unknown adversarial loss"):
        loss("best", torch.zeros(1), torch.zeros(1))


@st.composite
def rankings(draw, extra=()):
    """Logits, targets and their mask, of up to four users and seven items."""
    users, items, most = draw(st.integers(1, 4)), draw(st.integers(2, 7)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = torch.from_numpy(random.normal(scale=3.0, size=(users, *extra, items)))
    targets = torch.from_numpy(random.integers(0, items, (users, most)))
    return logits, targets, torch.from_numpy(random.random((users, most)) < 0.7)


@settings(deadline=None)
@given(rankings(), st.floats(-50, 50))
def test_a_ranking_loss_is_not_negative_and_minds_no_common_shift(case, shift):
    logits, targets, mask = case
    loss = float(losses.ranking_loss(logits, targets, mask))
    assert loss >= 0
    assert float(losses.ranking_loss(logits + shift, targets, mask)) == pytest.approx(loss, abs=1e-9)


@settings(deadline=None)
@given(rankings())
def test_a_larger_logit_of_the_target_lowers_the_ranking_loss(case):
    logits, targets, _ = case
    first = torch.zeros_like(targets, dtype=torch.bool)
    first[:, 0] = True
    better = logits.scatter_add(1, targets[:, :1], torch.ones(len(logits), 1, dtype=logits.dtype))
    assert losses.ranking_loss(better, targets, first) < losses.ranking_loss(logits, targets, first)


@settings(deadline=None)
@given(rankings(extra=(3,)))
def test_set_likelihood_lies_between_the_best_draw_and_that_draw_for_one_of_all(case):
    logits, targets, mask = case
    count = mask.sum(1)
    if not bool(count.any()):
        assert float(losses.set_likelihood_loss(logits, targets, mask)) == 0.0
        return
    index = targets.unsqueeze(1).expand(-1, 3, -1)
    together = (logits.log_softmax(2).gather(2, index) * mask.unsqueeze(1)).sum(2)
    best = -(together.max(1).values[count > 0] / count[count > 0])
    loss = float(losses.set_likelihood_loss(logits, targets, mask))
    assert float(best.mean()) - 1e-6 <= loss <= float((best + math.log(3) / count[count > 0]).mean()) + 1e-6


@settings(deadline=None)
@given(rankings(extra=(3,)), st.permutations(range(3)))
def test_set_likelihood_minds_no_order_of_the_draws(case, order):
    logits, targets, mask = case
    one = losses.set_likelihood_loss(logits, targets, mask)
    torch.testing.assert_close(losses.set_likelihood_loss(logits[:, order], targets, mask), one, rtol=1e-6, atol=1e-7)


@settings(deadline=None)
@given(rankings(), st.data())
def test_a_listwise_loss_minds_neither_order_nor_shift(case, data):
    logits, _, _ = case
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    positive, present = (torch.from_numpy(random.random(logits.shape) < share) for share in (0.4, 0.8))
    positive &= present
    order = data.draw(st.permutations(range(logits.shape[1])))
    loss = losses.listwise_loss(logits, positive, present)
    assert float(loss) >= 0
    turned = losses.listwise_loss(logits[:, order] + 7.0, positive[:, order], present[:, order])
    torch.testing.assert_close(turned, loss, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("held", [1 << 28, 20, 1])
@pytest.mark.parametrize("n_chosen", [0, 3])
@pytest.mark.parametrize("with_added", [True, False])
def test_log_sums_are_those_of_the_whole_matrix(n_chosen, with_added, held, monkeypatch):
    monkeypatch.setattr(losses, "HELD", held)
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
        return losses.log_sums(wanted, vectors, added, left_out, chosen)

    for found, expected in zip(ours(wanted, vectors), plain(wanted, vectors), strict=True):
        torch.testing.assert_close(found, expected)
    torch.autograd.gradcheck(ours, (wanted, vectors))


@pytest.mark.parametrize("n_chosen", [0, 3])
def test_log_sums_of_halves_come_near_and_their_sums_are_exact(n_chosen):
    torch.manual_seed(0)
    wanted = torch.nn.functional.normalize(torch.randn(40, 32)) * 12.0
    vectors = torch.nn.functional.normalize(torch.randn(3000, 32))
    chosen, left_out = torch.randint(0, 3000, (40, n_chosen)), (torch.tensor([0, 1]), torch.tensor([5, 7]))
    found = []
    for halves in (False, True):
        leaves = [some.clone().requires_grad_(True) for some in (wanted, vectors)]
        logits, sums = losses.log_sums(*leaves, None, left_out, chosen, halves)
        assert logits.dtype == sums.dtype == torch.float32
        (sums.sum() * (n_chosen or 1) - logits.sum()).backward()
        found.append((logits.detach(), sums.detach(), *[leaf.grad for leaf in leaves]))
    for exact, rough in zip(*found, strict=True):
        assert rough.dtype == torch.float32
        assert float((rough - exact).norm()) <= 0.02 * float(exact.norm())
    assert float((found[0][1] - found[1][1]).abs().max()) < 0.01


def test_where_all_is_left_out_nothing_counts():
    wanted, vectors = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    left_out = torch.tensor([0, 0]), torch.tensor([0, 1])
    _, rest = losses.log_sums(wanted, vectors, None, left_out, torch.empty(2, 0, dtype=torch.int64))
    assert rest[0] == -torch.inf
    losses.sampled_loss(torch.zeros(2, 1), rest, 3.0, torch.ones(2, 1, dtype=torch.bool)).backward()
    assert not wanted.grad[0].any()
    assert wanted.grad[1].any()
    assert torch.isfinite(vectors.grad).all()
