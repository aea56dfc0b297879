from __future__ import annotations

import pytest
import torch

from recgan.config import Config
from recgan.networks import BagEncoder, Discriminator, Generator, SequenceEncoder, build_generator
from recgan.networks.discriminator import build_discriminator
from recgan.networks.layers import Shared, unit
from recgan.training.fitting import served_copy

N, D, Z = 30, 16, 4


def generator(kind: str, dropout: float = 0.0) -> Generator:
    torch.manual_seed(0)
    config = Config(embedding_dim=D, hidden_dim=32, noise_dim=Z)
    return build_generator(config, kind, {"vectors": torch.randn(N, D)}, window=8, dropout=dropout)


@pytest.fixture(params=["bag", "sequence"])
def some(request) -> Generator:
    return generator(request.param)


ITEMS = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [0, 0, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)


def test_the_blocks_of_a_trained_encoder_are_counted_in_its_weights():
    config = Config(embedding_dim=D, hidden_dim=32, noise_dim=Z)
    deep = build_generator(config, "sequence", {"vectors": torch.randn(N, D)}, window=8, layers=2)
    again = build_generator(config, "sequence", deep.state_dict())
    assert len(again.encoder.blocks) == 2
    torch.testing.assert_close(again(ITEMS, MASK), deep(ITEMS, MASK), rtol=0, atol=0)
    assert len(generator("sequence").encoder.blocks) == 1


def test_a_new_generator_is_deterministic(some):
    condition = some.condition(ITEMS, MASK)
    draws = some.wanted(condition, torch.randn(6, Z))
    assert draws.shape == (3, 6, D)
    torch.testing.assert_close(draws, some.wanted(condition).unsqueeze(1).expand(3, 6, D))


def test_noise_and_condition_change_the_output(some):
    torch.nn.init.normal_(some.variation[-1].weight)
    draws = some(ITEMS, MASK, torch.randn(2, Z))
    assert (draws[:, 0] - draws[:, 1]).abs().max() > 1e-2
    assert (draws[0] - draws[1]).abs().max() > 1e-2


def test_wanted_vectors_have_the_length_of_the_scale(some):
    wanted = some(ITEMS, MASK)
    torch.testing.assert_close(wanted.norm(dim=1), some.scale.expand(3))
    torch.testing.assert_close(some.item_vectors().norm(dim=1), torch.ones(N))


def test_padding_changes_nothing(some):
    alone = some(ITEMS[:1, :3], MASK[:1, :3])
    torch.testing.assert_close(some(ITEMS, MASK)[:1], alone, rtol=1e-5, atol=1e-5)
    other = ITEMS.clone()
    other[~MASK] = 9
    torch.testing.assert_close(some(other, MASK), some(ITEMS, MASK), rtol=1e-5, atol=1e-5)


def test_an_empty_history_has_a_finite_condition(some):
    assert some(ITEMS[2:], MASK[2:]).isfinite().all()
    assert some(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool)).isfinite().all()


def test_a_bag_ignores_the_order_and_a_sequence_does_not():
    items, mask = torch.tensor([[1, 2, 3], [3, 2, 1]]), torch.ones(2, 3, dtype=torch.bool)
    bag, sequence = generator("bag")(items, mask), generator("sequence")(items, mask)
    torch.testing.assert_close(bag[0], bag[1])
    assert (sequence[0] - sequence[1]).abs().max() > 1e-3


def test_a_sequence_does_not_see_the_future():
    some = generator("sequence")
    items = torch.randint(0, N, (2, 6))
    changed = items.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % N
    before, after = some.states(items), some.states(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert (before[:, 5:] - after[:, 5:]).abs().max() > 1e-4


def test_bag_is_the_sum_over_the_root():
    torch.manual_seed(1)
    encoder = BagEncoder(torch.randn(N, D), 32, 0.0)
    expected = (encoder.embeddings[[1, 2, 3]].sum(0) + encoder.opening) / 3**0.5
    torch.testing.assert_close(encoder(ITEMS[:1], MASK[:1])[0], expected)


def judge_and_slates(random: bool = True):
    torch.manual_seed(0)
    judge = Discriminator(D, D, 5, 32)
    if random:
        for parameter in judge.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return judge, torch.randn(3, D), torch.randn(3, 4, D), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]) > 0


def test_a_new_discriminator_has_no_opinion():
    judge, *slates = judge_and_slates(random=False)
    assert judge.realism(*slates).abs().max() == 0
    assert judge(torch.randn(3, 7, 5)).abs().max() == 0


def test_realism_reads_condition_and_slate_and_the_head_the_features():
    judge, condition, slates, there = judge_and_slates()
    base = judge.realism(condition, slates, there)
    assert base.shape == (3,)
    assert (judge.realism(condition.roll(1, 0), slates, there) - base).abs().max() > 1e-3
    assert (judge.realism(condition, slates.roll(1, 0), there) - base).abs().max() > 1e-3
    features = torch.randn(3, 7, 5)
    assert (judge(features + 1) - judge(features)).abs().max() > 1e-3


def test_realism_reads_every_item_beside_the_condition():
    judge, condition, slates, there = judge_and_slates()
    pairs = torch.cat([slates, condition.unsqueeze(1).expand(-1, slates.shape[1], -1)], dim=-1)
    features, weights = judge.item(pairs), (there / there.sum(1, keepdim=True)).unsqueeze(-1)
    mean, middle = (weights * features).sum(1), (weights * slates).sum(1)
    spread = (weights * (features - mean.unsqueeze(1)).square()).sum(1)
    together = torch.cat([mean, spread, middle, 10.0 * middle.square().sum(1, keepdim=True)], dim=1)
    torch.testing.assert_close(judge.realism(condition, slates, there), judge.slate(together).squeeze(-1))


def test_realism_counts_no_order_and_nothing_behind_the_end():
    judge, condition, slates, there = judge_and_slates()
    base = judge.realism(condition, slates, there)
    torch.testing.assert_close(judge.realism(condition[:1], slates[:1].flip(1), there[:1]), base[:1])
    other = torch.where(there[..., None], slates, torch.full_like(slates, 9.0))
    torch.testing.assert_close(judge.realism(condition, other, there), base)
    torch.testing.assert_close(judge.realism(condition[1:2], slates[1:2, :2], there[1:2, :2]), base[1:2])


def test_centred_vectors_have_nothing_in_common():
    some = generator("bag")
    centred = some.centred_vectors()
    torch.testing.assert_close(centred.norm(dim=1), torch.ones(N))
    with torch.no_grad():
        some.vectors.add_(5.0 * torch.ones(D))
    assert centred.mean(0).norm() < some.item_vectors().mean(0).norm()


def test_sequence_longer_than_its_positions_is_cut_by_the_window():
    encoder = generator("sequence").encoder
    assert isinstance(encoder, SequenceEncoder)
    assert len(encoder.positions) == 9


def test_a_sequence_reads_the_vectors_that_it_is_compared_with():
    some = generator("sequence")
    before = some(ITEMS, MASK)
    with torch.no_grad():
        some.vectors[1, 0] += 3.0
    assert (some(ITEMS, MASK) - before).abs().amax(1)[0] > 1e-3
    with pytest.raises(TypeError, match="sequence"):
        generator("bag").states(ITEMS)


def test_unit_vectors_and_their_gradient():
    torch.manual_seed(0)
    vectors = torch.randn(5, 3, dtype=torch.float64)
    vectors[2] *= 1e-3
    torch.testing.assert_close(unit(vectors), torch.nn.functional.normalize(vectors, dim=1))
    torch.autograd.gradcheck(unit, (vectors.requires_grad_(),))
    nothing = torch.zeros(1, 3, requires_grad=True)
    unit(nothing).sum().backward()
    assert torch.equal(unit(nothing), torch.zeros(1, 3))
    assert torch.isfinite(nothing.grad).all()


def test_what_stands_where_nothing_should_is_not_read():
    encoder = BagEncoder(torch.randn(9, 4), 8, 0.0).eval()
    items, mask = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[True, False, True], [False, False, False]])
    short = encoder(torch.tensor([[1, 3]]), torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(encoder(items, mask)[:1], short)
    nobody = encoder(items, torch.zeros_like(mask))
    torch.testing.assert_close(encoder(items, mask)[1], nobody[0])
    nobody.sum().backward()
    assert not encoder.embeddings.grad.any()


@pytest.mark.parametrize("head", [16, 32])
def test_a_discriminator_is_built_as_wide_as_its_weights(head):
    made = Discriminator(D, D, 5, 32, head)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    read = build_discriminator(Config(hidden_dim=32), made.state_dict())
    features = torch.randn(2, 3, 5)
    torch.testing.assert_close(read(features), made(features))


def shared_out(some: Generator, categories: torch.Tensor) -> None:
    """Items that have something in common, of any size."""
    some.share(categories)
    torch.nn.init.normal_(some.shared.vectors, std=0.1)


def test_items_share_what_their_categories_say(some):
    torch.manual_seed(2)
    categories = torch.rand(len(some.vectors), 5) * (torch.rand(len(some.vectors), 5) < 0.5)
    categories[3] = 0
    items, mask = torch.tensor([[1, 2], [4, 0]]), torch.tensor([[True, True], [True, False]])
    own, before = some.vectors.clone(), (some.item_vectors(), some(items, mask))
    some.share(categories)
    torch.testing.assert_close((some.item_vectors(), some(items, mask)), before)
    shared_out(some, categories)
    torch.testing.assert_close(some.table, own + some.shared.faster * categories @ some.shared.vectors)
    torch.testing.assert_close(some.table[3], own[3])
    assert some.encoder.kind == "bag" or not torch.allclose(some(items, mask), before[1])


def test_a_served_generator_has_in_its_vectors_what_items_share(some):
    torch.manual_seed(3)
    shared_out(some, torch.rand(len(some.vectors), 5))
    served = served_copy(some, some.state_dict())
    assert served.shared is None
    assert not [name for name in served.state_dict() if "shared" in name]
    items, mask = torch.tensor([[1, 2], [4, 0]]), torch.tensor([[True, True], [True, False]])
    torch.testing.assert_close(served.item_vectors(), some.item_vectors())
    torch.testing.assert_close(served(items, mask), some(items, mask))
    again = served_copy(some, served.state_dict(), ())
    torch.testing.assert_close(again.item_vectors(), served.item_vectors(), rtol=0, atol=0)


@pytest.mark.parametrize(("n_items", "faster"), [(70, 8.0), (150, 4.0), (1000, 1.0)])
def test_what_many_items_share_moves_more_slowly(n_items, faster):
    assert Shared(torch.eye(3).repeat(n_items, 1), 2).faster == pytest.approx(faster)
