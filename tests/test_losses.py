from __future__ import annotations

import math

import pytest
import torch

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
    weight = torch.tensor([1.0, 1.0, 3.0, 1.0])
    loss = float(losses.listwise_loss(logits, positive, present, weight))
    assert loss == pytest.approx((first + 3 * second) / 4, rel=1e-5)
    nobody = torch.zeros_like(positive)
    assert float(losses.listwise_loss(logits, nobody, present, weight)) == 0.0


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
    penalty = losses.gradient_penalty("relativistic", lambda v: (v @ weight).sum(1), vectors, vectors + 1, mixing)
    assert float(penalty) == pytest.approx(75.0)
    penalty = losses.gradient_penalty("wgan-gp", lambda v: (v @ weight).sum(1), vectors, vectors + 1, mixing)
    assert float(penalty) == pytest.approx((75.0**0.5 - 1.0) ** 2)


def test_gradient_penalty_reaches_the_judge():
    judge = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.GELU(), torch.nn.Linear(4, 1))
    real, fake = torch.randn(2, 3, 2), torch.randn(2, 3, 2)
    losses.gradient_penalty("hinge", lambda v: judge(v).sum((1, 2)), real, fake, torch.rand(2, 1, 1)).backward()
    assert judge[0].weight.grad.abs().sum() > 0


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
