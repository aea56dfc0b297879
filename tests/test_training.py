from __future__ import annotations

import copy
import dataclasses
import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted, shuffled

import recgan
from recgan import linear, losses
from recgan.config import Config
from recgan.errors import ConfigError, DataError, TrainingError
from recgan.histories import DAY, Histories
from recgan.networks import Discriminator, build_generator
from recgan.opening import opening
from recgan.popularity import Trend
from recgan.ranking import Blocks, Query, Ranker, Weights
from recgan.training import closed, phases, run, short, slates, softmax
from recgan.training.batches import SequenceBatches, SplitBatches, alike
from recgan.training.closed import ClosedForms
from recgan.training.data import read_data
from recgan.training.fitting import Watch, served_copy
from recgan.training.module import ConditionalGAN
from recgan.training.phases import Phases
from recgan.training.plan import DECAYS, FORGETTING, Plan, plan
from recgan.training.scoring import by_parts
from recgan.training.validation import Validation, carve, propose
from recgan.vocabulary import Vocabulary

N = 40
KINDS = ["relativistic", "non-saturating", "wgan-gp", "hinge"]


@pytest.fixture(scope="module")
def histories() -> Histories:
    random = np.random.default_rng(0)
    lists = [random.permutation(N)[: random.integers(1, 15)] for _ in range(90)]
    flat = Histories.from_lists(lists, N)
    return Histories(flat.offsets, flat.items, N, np.arange(len(flat.items), dtype=np.float64), True)


def module(encoder: str = "bag", game: bool = True, seconds: float | None = None, trend=None, **settings):
    torch.manual_seed(0)
    config = Config(**{"embedding_dim": 16, "hidden_dim": 32, "noise_dim": 4, **settings})
    generator = build_generator(config, encoder, {"vectors": torch.randn(N, 16)}, window=10)
    judge, full = Discriminator(16, 16, 5, 32) if game else None, config.full_softmax_items is None
    return ConditionalGAN(
        generator,
        judge,
        config,
        phase="game" if game else "ranking",
        learning_rate=1e-3,
        weight_decay=0.01,
        n_steps=10,
        full_softmax=full,
        seconds=seconds,
        trend=trend,
    )


def batch_of(histories: Histories, encoder: str = "bag", game: bool = True):
    if encoder == "sequence" and not game:
        return next(iter(SequenceBatches(histories, 10, seed=0)))
    ordered = encoder == "sequence"
    slates = {"slate_size": 4, "space": np.eye(N, dtype=np.float32)} if game else {}
    return next(iter(SplitBatches(histories, 64, 10, 0, ordered=ordered, **slates)))


def weights_of(network: torch.nn.Module):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(before, network) -> bool:
    return all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def judged(some: ConditionalGAN, batch) -> torch.Tensor:
    """The discriminator's loss on slates of the batch."""
    condition = some.generator.condition(batch["items"], batch["mask"])
    real, fake = some.slates(some.generator.wanted(condition), batch)
    return some.discriminator_loss(some.discriminator, condition, real, fake.detach(), batch["target_mask"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_each_player_moves_itself_alone(histories, encoder, kind):
    some, batch = stirred(module(encoder, adversarial=kind)), batch_of(histories, encoder)
    some.manual_backward = lambda loss: loss.backward()  # without a trainer
    generator, discriminator = some.configure_optimizers()
    before, judge = weights_of(some.generator), weights_of(some.discriminator)
    found = some.game_losses(batch, discriminator)
    assert same(before, some.generator)
    moved = {name for name, value in some.discriminator.state_dict().items() if not torch.equal(judge[name], value)}
    assert {name for name in judge if name.startswith(("item.", "slate."))} - {"slate.2.bias"} <= moved
    assert not any(name.startswith("head.") for name in moved)
    judge = weights_of(some.discriminator)
    some.discriminator.zero_grad(set_to_none=True)
    (found["set"] + found["adversarial"]).backward()
    generator.step()
    assert same(judge, some.discriminator)
    assert all(parameter.grad is None for parameter in some.discriminator.parameters())
    moved = {name for name, value in some.generator.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == {name for name in before if name.startswith("variation.")}


def test_without_its_optimizer_the_discriminator_stays(histories):
    some, batch = stirred(module()), batch_of(histories)
    judge = weights_of(some.discriminator)
    assert set(some.game_losses(batch)) == {"set", "adversarial", "discriminator"}
    assert same(judge, some.discriminator)
    assert set(stirred(module(adversarial="none")).game_losses(batch)) == {"set"}


def stirred(some: ConditionalGAN) -> ConditionalGAN:
    """Layers that start at zero let no gradient through to the layers below: move them off zero."""
    for parameter in some.parameters():
        with torch.no_grad():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return some


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_every_playing_parameter_gets_a_gradient(histories, encoder):
    some, batch = stirred(module(encoder)), batch_of(histories, encoder)
    judged(some, batch).backward()
    for name, parameter in some.discriminator.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved != (name.startswith("head.") or name == "slate.2.bias"), name  # relative: no common bias
    for loss in ("set", "adversarial"):
        some.zero_grad()
        some.game_losses(batch)[loss].backward()
        for name, parameter in some.generator.named_parameters():
            moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert moved == name.startswith("variation."), (loss, name)


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_the_ranking_step_trains_all_but_the_variation(histories, encoder):
    some, batch = stirred(module(encoder, game=False)), batch_of(histories, encoder, game=False)
    some.ranking_loss(batch).backward()
    for name, parameter in some.generator.named_parameters():
        assert (parameter.grad is None) == name.startswith("variation."), name


@pytest.mark.parametrize(
    ("users", "batch", "rate", "epochs"),
    [
        (90, 128, 1e-3, 50),
        (4000, 128, 2e-3, 50),
        (100_000, 4096, 4e-3, 50),
        (32_000, 128, 1e-3, 16),  # 250 steps
        (16_000, 128, 2e-3, 30),  # 125 steps
        (100_000, 128, 1e-3, 16),
    ],
)
def test_the_rate_grows_with_the_users_and_falls_with_the_steps_of_an_epoch(users, batch, rate, epochs):
    histories = Histories.from_lists([np.arange(2)] * users, 2)
    made = plan(Config(batch_size=batch), histories, "bag")
    assert (made.learning_rate, made.epochs) == (pytest.approx(rate), epochs)
    usual = min(4e-3, max(1e-3, 1e-3 * (users / 1000) ** 0.5))
    assert made.weight_decay * made.learning_rate == pytest.approx(0.01 * usual, rel=0.01)
    sampled = plan(Config(batch_size=batch, full_softmax_items=1), histories, "bag")  # a step moves few vectors
    assert (sampled.learning_rate, sampled.epochs, sampled.weight_decay) == (pytest.approx(usual), 50, 0.01)
    assert plan(Config(batch_size=batch, learning_rate=1e-6), histories, "bag").weight_decay == made.weight_decay


@pytest.mark.parametrize(
    ("values", "n_users", "stopped", "best"),
    [
        ([0.1, 0.3, *[0.299, 0.295] * 6], 600, None, 2),
        ([0.1, 0.3, *[0.296] * 6], 600, None, 2),
        ([0.1, 0.3, *[0.296] * 6], 5000, 5, 2),
        ([0.1, 0.3, *[0.296] * 6], 60, None, 2),
        ([0.1, 0.3, *[0.29] * 6], 600, 5, 2),
        ([0.1, 0.3, *[0.29] * 6], 60, 5, 2),
        ([0.1, 0.3, 0.2, 0.1, 0.31, *[0.2] * 4], 600, 8, 5),
        ([0.1, 0.3, 0.298, 0.298, 0.298, 0.298, 0.298, 0.301], 600, None, 8),
    ],
)
def test_training_stops_where_it_falls_and_not_on_a_plateau(values, n_users, stopped, best):
    measured = iter(values)
    watch = Watch(lambda generator: {"metric": next(measured)}, 3, lambda *_: None, {}, n_users)
    some, found = module(game=False), None
    for epoch in range(1, len(values) + 1):
        watch.measured(some.generator)
        if watch.enough(epoch, some):
            found = epoch
            break
    assert (found, watch.best_epoch) == (stopped, best)
    again = Watch(watch.measure, 3, lambda *_: None, {})
    again.take_up(watch.kept(), watch.best_state)
    assert (again.values, again.best, again.best_epoch) == (watch.values, watch.best, watch.best_epoch)


@pytest.mark.parametrize("n_negatives", [4096, 50])
def test_a_trend_joins_the_logits_of_its_time(histories, n_negatives):
    full = n_negatives > N
    trend = Trend(np.array([-1.0, 200.0, 400.0]), np.random.default_rng(0).normal(size=(3, N)).astype(np.float32))
    batch = next(iter(SequenceBatches(histories, 10, 0, trend)))
    limit = {"precision": "float32"} if full else {"precision": "float32", "full_softmax_items": 1}
    some = module("sequence", game=False, n_negatives=n_negatives, trend=torch.from_numpy(trend.log_rates), **limit)
    some.generator.eval()
    found = some.ranking_loss(batch)
    luck = torch.Generator().manual_seed(0)  # of the seed and the step
    pool = torch.arange(N) if full else torch.randint(N, (n_negatives,), generator=luck)
    states = some.generator.states(batch["items"][:, :-1])[batch["mask"]]
    prior = some.trend[batch["when"][batch["mask"]]]
    logits, targets = (
        some.generator.wanted(states) @ some.generator.item_vectors().T + prior,
        batch["items"][batch["mask"]],
    )
    chosen = logits.gather(1, targets[:, None])[:, 0]
    rest = logits[:, pool].masked_fill(targets[:, None] == pool, -torch.inf).logsumexp(1) + np.log(N / len(pool))
    torch.testing.assert_close(found, (torch.logaddexp(chosen, rest) - chosen).mean())


@pytest.mark.parametrize(
    ("precision", "is_fast", "halves"), [("auto", True, True), ("auto", False, False), ("float32", True, False)]
)
def test_halves_are_multiplied_where_they_are_fast_and_not_forbidden(
    histories, precision, is_fast, halves, monkeypatch
):
    asked, log_sums = [], losses.log_sums
    monkeypatch.setattr(softmax, "fast", lambda device: is_fast)
    monkeypatch.setattr(losses, "log_sums", lambda *given: asked.append(given[-1]) or log_sums(*given))
    batch = next(iter(SequenceBatches(histories, 10, 0)))
    for limit in ({}, {"full_softmax_items": 1}):
        found = module("sequence", game=False, precision=precision, **limit).ranking_loss(batch)
        assert torch.isfinite(found)
    assert asked == [halves, halves]


def test_the_game_takes_the_time_of_the_first_target(histories):
    trend = Trend.of(histories, 100.0 / DAY)
    slates = {"slate_size": 4, "space": np.eye(N, dtype=np.float32)}
    batch = next(iter(SplitBatches(histories, 64, 10, 0, ordered=True, trend=trend, **slates)))
    assert batch["when"].shape == batch["targets"][:, 0].shape
    found = []
    for told in (None, torch.from_numpy(trend.log_rates)):
        some = module("sequence", trend=told)
        torch.manual_seed(1)
        found.append(float(some.game_losses(batch)["set"].detach()))
        assert math.isfinite(found[-1])
    assert found[0] != found[1]


@pytest.mark.parametrize("sampled", [30_000, 0])
def test_generated_slates_follow_the_softmax_and_hold_nothing_known(histories, sampled, monkeypatch):
    monkeypatch.setattr("recgan.training.module.SAMPLED", sampled)
    some, batch = stirred(module()), batch_of(histories)
    vectors, wanted = some.generator.centred_vectors(), some.generator.wanted(torch.randn(1, 16))
    batch = {
        "items": torch.tensor([[3, 5]]), "mask": torch.ones(1, 2, dtype=torch.bool), "targets": torch.tensor([[1, 2]])
    }  # fmt: skip
    logits = (wanted @ some.generator.item_vectors().T)[0]
    logits[[3, 5]] = -torch.inf
    first, both = torch.zeros(N), torch.zeros(N, N)
    many = {name: value.expand(4000, -1) for name, value in batch.items()}
    real, fake = some.slates(wanted.expand(4000, -1), many)
    torch.testing.assert_close(real[0], vectors[[1, 2]])
    numbers = torch.cdist(fake.detach(), vectors).argmin(-1)
    assert (numbers[:, 0] != numbers[:, 1]).all()
    first.index_add_(0, numbers[:, 0], torch.ones(4000))
    both.index_put_((numbers[:, 0], numbers[:, 1]), torch.ones(4000), accumulate=True)
    chance = logits.detach().softmax(0)
    pairs = chance[:, None] * chance / (1.0 - chance[:, None])
    pairs.fill_diagonal_(0.0)
    assert (first / 4000 - chance).abs().max() < 0.03
    assert (both / 4000 - pairs).abs().max() < 0.03


def test_a_pool_stands_for_the_whole_catalogue(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(slates, "LIKELIEST", 3)
    monkeypatch.setattr(slates, "SAMPLE", 8)
    vectors, wanted = torch.randn(N, 4), torch.randn(2, 4)
    logits, pool = wanted @ vectors.T, slates.Pool(vectors)
    best, sums = logits.topk(3).indices, []
    for _ in range(3000):
        numbers, added = pool.of(wanted)
        assert torch.isin(best, numbers).all()
        assert torch.equal(added[0, torch.isin(numbers, best[0])], torch.zeros(3))
        sums.append((wanted @ vectors[numbers].T + added).exp().sum(1))
    torch.testing.assert_close(torch.stack(sums).mean(0), logits.exp().sum(1), rtol=0.03, atol=0.0)


def fashion(n_users: int, seed: int, days: int = 40) -> pd.DataFrame:
    """Every day four other items are in fashion; users of two groups like the even or the odd ones of them."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for day in np.sort(random.choice(days, 12, replace=False)):
            item = 4 * (day // 2) + 2 * random.integers(2) + user % 2
            rows.append((user, item, (day + random.random()) * DAY))
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return frame.drop_duplicates(["user_id", "item_id"], ignore_index=True)


def test_what_is_in_fashion_is_learned_apart_from_taste(small_config):
    frame = fashion(150, seed=0)
    split = recgan.split_by_time(frame, fraction=0.05)
    past = pd.concat([split.train, split.validation.truth], ignore_index=True)
    model = recgan.train(past, config=small_config.changed(encoder="sequence", epochs=8))
    info = model.info()
    assert info["half_life"] is not None
    assert info["ablation"]["both"] > 1.2 * info["ablation"]["popularity"]
    lists = model.recommend_batch(n=1)
    own = (lists["item_id"] % 2 == lists["user_id"] % 2).mean()
    assert own > 0.8


def test_sampled_softmax_is_used_for_large_catalogues(histories):
    some, batch = stirred(module(game=False, full_softmax_items=10, n_negatives=20)), batch_of(histories, game=False)
    loss = some.ranking_loss(batch)
    assert torch.isfinite(loss)
    loss.backward()


def test_condition_and_target_never_share_an_item(histories):
    for ordered in (False, True):
        slates = {"slate_size": 4, "space": np.eye(N, dtype=np.float32)} if ordered else {}
        for batch in SplitBatches(histories, 16, 50, seed=1, ordered=ordered, **slates):
            for row in range(len(batch["items"])):
                condition = set(batch["items"][row][batch["mask"][row]].tolist())
                target = set(batch["targets"][row][batch["target_mask"][row]].tolist())
                assert target
                assert not condition & target


def test_an_ordered_target_follows_its_condition(histories):
    wholes = [histories.of(user).tolist() for user in range(len(histories))]
    for batch in SplitBatches(histories, 16, 50, seed=1, ordered=True):
        for row in range(len(batch["items"])):
            condition = batch["items"][row][batch["mask"][row]].tolist()
            both = condition + batch["targets"][row][batch["target_mask"][row]].tolist()
            assert not condition or both in wholes


def test_a_slate_holds_what_is_most_like_one_of_a_users_items(histories):
    groups = np.eye(4, dtype=np.float32)[np.arange(N) % 4]
    for ordered in (False, True):
        for batch in SplitBatches(histories, 16, 50, seed=1, ordered=ordered, slate_size=3, space=groups):
            for targets, there in zip(batch["targets"], batch["target_mask"], strict=True):
                slate = targets[there]
                assert 1 <= len(slate) <= 3
                assert len(set(slate.tolist())) == len(slate)
    flat = Histories.from_lists([np.arange(N)] * 50, N)
    taken = flat.part(alike(flat, np.ones(len(flat.items), bool), groups, 3, np.random.default_rng(0)))
    assert (taken.lengths == 3).all()
    same = [len({item % 4 for item in taken.of(user)}) == 1 for user in range(50)]
    assert np.mean(same) > 0.9
    assert len({tuple(sorted(taken.of(user))) for user in range(50)}) > 20


def test_some_conditions_are_empty(histories):
    batches = list(SplitBatches(histories, 1000, 50, seed=1)) * 1
    empty = np.mean([float((~batch["mask"].any(1)).float().mean()) for batch in batches])
    assert 0 < empty < 0.3


def test_sequence_batches_hold_every_user_once(histories):
    batches = SequenceBatches(histories, 10, seed=0)
    assert sum(len(batch["items"]) for batch in batches) == (histories.lengths > 0).sum()
    assert len(batches) == len(list(batches))


def test_every_position_that_serves_is_trained(histories):
    """The last one too, from which every history is served that fills the window."""
    some = module("sequence", game=False)
    sum(some.ranking_loss(batch) for batch in SequenceBatches(histories, 10, seed=0)).backward()
    assert (some.generator.encoder.positions.grad.norm(dim=1) > 1e-4).all()
    assert len(some.generator.encoder.positions) == 11


def test_a_window_of_one_item_is_trained():
    histories = Histories.from_lists([[1], [2, 3], [4, 5, 6]], N)
    batches = list(SequenceBatches(histories, 1, seed=0))
    assert sorted(batch["mask"].sum(1).tolist() for batch in batches) == [[1, 2, 2]]
    assert torch.isfinite(module("sequence", game=False).ranking_loss(batches[0]))


def test_carving_loses_nothing(histories):
    kept, hidden = carve(histories, 50, seed=0)
    for user in range(len(histories)):
        assert kept.of(user).tolist() + hidden.of(user).tolist() == histories.of(user).tolist()
    assert 0 < (hidden.lengths > 0).sum() <= 50


def test_with_a_clock_the_last_events_are_carved():
    """Rows of 20 users over 50 moments; the newest tenth has a past, so everything after one moment is hidden."""
    random = np.random.default_rng(0)
    lists = [np.sort(random.permutation(50)[:20]) for _ in range(20)]
    flat = Histories.from_lists([random.permutation(N)[:20] for _ in lists], N)
    histories = Histories(flat.offsets, flat.items, N, np.concatenate(lists).astype(np.float64), True)
    for most in (20, 5):
        kept, hidden = carve(histories, most, seed=0)
        assert kept.times.max() <= hidden.times.min()
        assert 0 < (hidden.lengths > 0).sum() <= most
        assert len(kept.items) + len(hidden.items) == len(histories.items)
        assert len(hidden.items) <= len(histories.items) // 10
    strangers = Histories(flat.offsets, flat.items, N, np.repeat(np.arange(20.0), 20), True)
    kept, hidden = carve(strangers, 20, seed=0)
    assert ((kept.lengths == 18) & (hidden.lengths == 2)).all()


def test_the_plan_follows_the_data_and_the_settings(histories):
    bag, sequence = (plan(Config(), histories, kind) for kind in ("bag", "sequence"))
    assert (bag.window, bag.full_softmax) == (1000, True)
    assert 20 <= sequence.window <= 200
    assert sequence.learning_rate > bag.learning_rate
    assert (sequence.dropout, sequence.layers, sequence.weight_decay) == (0.5, 1, 0.3)
    events = 300 * histories.n_items
    dense = Histories(np.array([0, events]), np.arange(events) % N, N, np.arange(float(events)))
    assert plan(Config(), dense, "sequence").dropout == pytest.approx(0.5 * (20 / 300) ** (1 / 3), abs=1e-3)
    many = Histories(np.array([0, 10**6]), np.arange(10**6) % N, N, np.arange(1e6))
    assert (plan(Config(), many, "sequence").layers, plan(Config(), many, "bag").layers) == (3, 1)
    assert plan(Config(), many, "sequence").weight_decay == 0.1
    large = dataclasses.replace(histories, n_items=10**8)
    assert not plan(Config(), large, "bag").full_softmax
    said = {
        "window": 7,
        "dropout": 0.0,
        "epochs": 0,
        "learning_rate": 0.5,
        "weight_decay": 0.3,
        "full_softmax_items": 5,
    }
    assert plan(Config(**said), histories, "bag") == Plan("bag", 7, 0.0, 1, 0, 0.5, 0.3, False, None)


def test_weights_of_sequences_are_forgotten_over_epochs_however_many_steps_they_have():
    events = 90 * 2048
    histories = Histories(np.array([0, events]), np.arange(events) % N, N, np.arange(float(events)))
    made = plan(Config(), histories, "sequence")
    assert made.weight_decay * made.learning_rate * made.epochs * 90 == pytest.approx(1 / 0.8, rel=1e-2)
    assert plan(Config(epochs=10), histories, "sequence").weight_decay == pytest.approx(made.weight_decay * 1.2, 1e-2)
    assert plan(Config(epochs=1), histories, "sequence").weight_decay == DECAYS[1]
    assert plan(Config(), histories, "bag").weight_decay == 0.01


def test_sets_that_are_learned_by_heart_are_forgotten_over_as_many_epochs_as_an_item_has_events():
    lists = [np.arange(user, user + 8) % 1000 for user in range(2000)]
    histories = Histories.from_lists(lists, 1000)
    made = plan(Config(), histories, "bag")
    assert made.forgetting * made.learning_rate * 2000 / 128 * 16 == pytest.approx(1.0, rel=1e-2)
    for n_items in (799, 30_001):  # items that are frequent, a catalogue that is large
        assert plan(Config(), dataclasses.replace(histories, n_items=n_items), "bag").forgetting is None
    assert plan(Config(), dataclasses.replace(histories, n_items=4000), "bag").forgetting == FORGETTING
    for settings in ({"weight_decay": 0.01}, {"time_limit": 60.0}, {"full_softmax_items": 5}):
        assert plan(Config(**settings), histories, "bag").forgetting is None
    assert plan(Config(), histories, "sequence").forgetting is None


@pytest.mark.parametrize(
    ("best_epochs", "best", "kept"),
    [((2, 9), (0.3, 0.4), 1), ((2, 9), (0.4, 0.3), 0), ((5, 9), (0.3, 0.4), 0), ((0, 9), (0.3, 0.4), 0)],
)
def test_who_is_best_early_is_trained_once_more_and_the_better_one_stays(
    interactions, small_config, monkeypatch, best_epochs, best, kept
):
    begun, rank = [], Phases._ranked

    def ranked(self, name, generator, measure, weights):
        number = len(begun)
        begun.append(
            (name, self.plan.weight_decay, {name: value.clone() for name, value in generator.state_dict().items()})
        )
        trained, watch = rank(self, name, generator, measure, weights)
        watch.best, watch.best_epoch, watch.curve = best[number], best_epochs[number], [{"epoch": 1.0, "metric": 0.0}]
        return trained, watch

    monkeypatch.setattr(Phases, "_ranked", ranked)
    monkeypatch.setattr(Phases, "tuned", lambda self, blocks, epochs: blocks)
    monkeypatch.setattr(phases, "EARLY", 4 / 12)
    monkeypatch.setattr("recgan.training.plan.FREQUENT", 1e9)
    info = recgan.train(interactions, config=small_config.changed(epochs=12, game_steps=0)).info()
    early = 0 < best_epochs[0] <= 4
    assert [name for name, _, _ in begun] == ["ranking", *["ranking again"] * early]
    assert info["ranking"]["best_epoch"] == best_epochs[kept]
    assert info["plan"]["weight_decay"] == begun[kept][1] == (info["plan"]["forgetting"] if kept else 0.01)
    for name, value in begun[-1][2].items():  # both begin at the same weights
        torch.testing.assert_close(value, begun[0][2][name], rtol=0, atol=0)


def test_the_rate_falls_with_the_steps_or_with_the_time(histories):
    some = module()
    some.steps = 5
    assert some.progress() == 0.5
    hurried = module(seconds=1e-6)
    hurried.progress()
    assert hurried.progress() == 1.0


def test_a_time_limit_ends_the_training(interactions, small_config):
    config = Config(**{**small_config.model_dump(), "epochs": 10_000, "patience": 10_000, "time_limit": 1.5})
    info = recgan.train(interactions, config=config).info()
    assert info["seconds"] < 60
    assert 0 < len(info["ranking"]["curve"]) < 10_000


def test_transitions_win_where_order_matters_and_neighbours_where_it_does_not():
    chains = [(start + np.arange(8)) % N for start in range(N)]
    ordered = Histories.from_lists(chains, N)
    ordered = dataclasses.replace(ordered, times=np.arange(len(ordered.items), dtype=np.float64))
    kept, hidden = carve(ordered, 100, seed=0)
    query = Query(kept, kept, np.zeros((N, 0), np.float32))
    forms = ClosedForms(kept, Validation(query, hidden, hidden.lengths, "ndcg@5"), seed=0)
    assert "backward" in forms.sparse().settings
    assert forms.sparse().value > forms.dense().value
    again = forms.sparse()
    np.testing.assert_array_equal(again.fit(kept).rows.toarray(), again.block.rows.toarray())
    assert set(ClosedForms(dataclasses.replace(kept, times=None), forms.validation, 0).sparse().settings) == {
        "user_power", "from_power", "to_power", "shrinkage"
    }  # fmt: skip


def test_the_generator_learns_what_was_held_out(interactions, small_config, monkeypatch):
    settings = {**small_config.model_dump(), "game_steps": 0}
    monkeypatch.setattr(phases, "choose_weights", lambda proposals, validation, alone: Weights(generated=1.0))
    refitted = recgan.train(interactions, config=Config(**settings))
    monkeypatch.setattr(phases, "REFIT_SHARE", 0.0)
    plain = recgan.train(interactions, config=Config(**settings))
    assert refitted.info()["ablation"] == plain.info()["ablation"]
    assert not np.allclose(refitted.item_vectors(), plain.item_vectors())


def test_a_loss_that_is_no_number_stops_the_run(histories):
    some = module()
    some.manual_backward = lambda loss: loss.backward()
    with pytest.raises(TrainingError, match="step 0"):
        some._descend([], torch.tensor(math.nan, requires_grad=True), some.generator, "generator")


def test_the_game_copies_the_variation_alone(interactions, small_config, monkeypatch):
    seen, game = [], phases.Phases.game

    def noted(self, blocks, discriminator):
        before = {name: value.clone() for name, value in blocks.generator.state_dict().items()}
        played, judge, report = game(self, blocks, discriminator)
        seen.append((before, blocks.generator.state_dict(), played.generator.state_dict()))
        return played, judge, report

    monkeypatch.setattr(phases.Phases, "game", noted)
    recgan.train(interactions, config=small_config.changed(epochs=1))
    ((before, after, played),) = seen
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
        varies = name.startswith("variation.")
        assert (played[name].data_ptr() == after[name].data_ptr()) == (not varies), name
        assert torch.equal(played[name], value) == (not varies), name


def test_served_copy_is_apart(histories):
    some = module()
    served = served_copy(some.generator, some.average)
    before = weights_of(served)
    some.generator.vectors.data.add_(1.0)
    assert same(before, served)
    assert not any(parameter.requires_grad for parameter in served.parameters())


def ndcg(model, split) -> float:
    lists = model.recommend_batch(histories=split.test.history, n=10)
    return recgan.evaluate(lists, split.test.truth, ["ndcg@10"])["ndcg@10"]


def by_chance(split) -> float:
    """What lists of ten unseen items drawn at random get."""
    random, values = np.random.default_rng(0), []
    items = split.train["item_id"].unique()
    seen = split.test.history.groupby("user_id")["item_id"].apply(set)
    for _ in range(20):
        lists = [
            pd.DataFrame({"user_id": user, "item_id": random.permutation(np.setdiff1d(items, list(had)))[:10]})
            for user, had in seen.items()
        ]
        frame = pd.concat(lists).assign(rank=lambda f: f.groupby("user_id").cumcount() + 1)
        values.append(recgan.evaluate(frame, split.test.truth, ["ndcg@10"])["ndcg@10"])
    return float(np.mean(values))


@pytest.mark.parametrize("ordered", [False, True])
def test_planted_structure_is_found_and_not_found_when_shuffled(small_config, ordered):
    frame = planted(160, 60, 4, noise=0.05, seed=1, ordered=ordered)
    results = []
    for some in (frame, shuffled(frame, seed=0)):
        split = recgan.split_ratio(some, seed=0)
        results.append(ndcg(recgan.train(split.train, validation=split.validation, config=small_config), split))
    assert results[0] > 0.5
    assert results[1] < by_chance(split) + 0.05


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_same_seed_same_weights(interactions, small_config, encoder):
    frame = interactions.assign(position=interactions.groupby("user_id").cumcount())
    config = Config(**{**small_config.model_dump(), "encoder": encoder, "epochs": 2})
    first, second = (recgan.train(frame, config=config, seed=5) for _ in range(2))
    assert first.item_vectors().equals(second.item_vectors())
    assert first.recommend_batch(n=5).equals(second.recommend_batch(n=5))
    other = recgan.train(frame, config=config, seed=6)
    assert not first.item_vectors().equals(other.item_vectors())


def test_training_leaves_torch_and_the_tables_alone(interactions, small_config):
    torch.manual_seed(11)
    expected = copy.deepcopy(torch.random.get_rng_state())
    before = interactions.copy()
    recgan.train(interactions, config=Config(**{**small_config.model_dump(), "epochs": 1}))
    assert torch.equal(torch.random.get_rng_state(), expected)
    pd.testing.assert_frame_equal(interactions, before)


@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_every_adversarial_loss_trains(interactions, small_config, kind):
    config = Config(**{**small_config.model_dump(), "adversarial": kind, "epochs": 1})
    info = recgan.train(interactions, config=config).info()
    assert ("discriminator" in info["game"]["curve"][0]) == (kind != "none")
    assert info["alarms"]["spread"] > 0


def test_the_game_leaves_the_lists_alone(interactions, small_config):
    config = small_config.changed(epochs=4)
    with_game, without = (recgan.train(interactions, config=config.changed(game_steps=steps)) for steps in (40, 0))
    pd.testing.assert_frame_equal(with_game.recommend_batch(n=10), without.recommend_batch(n=10))
    assert with_game.item_vectors().equals(without.item_vectors())
    assert without.info()["game"] == {"curve": []}
    assert with_game.info()["alarms"]["spread"] > 1e-3 > without.info()["alarms"]["spread"]


def test_the_report_of_a_run(model):
    info = model.info()
    assert {"popularity", "linear", "generator", "both", "both + discriminator", "both, z on"} == set(info["ablation"])
    assert info["ranking"]["best_epoch"] >= 1
    assert info["data"]["users"] == 120
    assert info["config"]["embedding_dim"] == 16
    info["ablation"].clear()
    assert model.info()["ablation"]


def test_logs_are_written(interactions, small_config, tmp_path):
    config = Config(**{**small_config.model_dump(), "epochs": 2, "log_dir": str(tmp_path)})
    recgan.train(interactions, config=config)
    rows = pd.read_csv(tmp_path / "csv" / "ranking" / "metrics.csv")
    assert {"metric", "ranking"} <= set(rows.columns)
    assert len(rows) == 2
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents*"))


def test_items_and_users_tables_are_used(interactions, small_config):
    ids = sorted(interactions["item_id"].unique())
    items = pd.DataFrame({"item_id": ids[1:], "title": "t", "categories": [f"g{i % 4}" for i in ids[1:]], "year": 1990})
    users = pd.DataFrame({"user_id": range(120), "age": range(120), "group": [f"g{u % 4}" for u in range(120)]})
    some = recgan.train(interactions, items, users=users, config=small_config)
    assert some.item_table["title"].tolist()[1] == "t"
    assert some._profiles.shape == (120, 5)


def test_bad_arguments(interactions, small_config):
    with pytest.raises(ConfigError, match="Config"):
        recgan.train(interactions, config={"epochs": 3})
    with pytest.raises(DataError, match="single item"):
        recgan.train(pd.DataFrame({"user_id": [1, 2], "item_id": [1, 1]}))
    with pytest.raises(DataError, match="user_id"):
        recgan.train(interactions.rename(columns={"user_id": "x"}))


def test_users_with_one_item_each(small_config):
    frame = pd.DataFrame({"user_id": range(20), "item_id": [0] * 12 + [1] * 8})
    some = recgan.train(frame, config=small_config)
    assert some.recommend("new", 2)["item_id"].tolist() == [0, 1]
    assert some.recommend(0)["item_id"].tolist() == [1]


def test_tables_with_ids_of_another_type_are_refused(interactions, small_config):
    items = pd.DataFrame({"item_id": ["1", "2"], "title": "t"})
    with pytest.raises(DataError, match="items: item_id holds ids such as '1', the interactions hold ids such as 0"):
        recgan.train(interactions, items, config=small_config)
    with pytest.raises(DataError, match="users: user_id"):
        recgan.train(interactions, users=pd.DataFrame({"user_id": ["1"], "age": 3}), config=small_config)


def test_a_log_folder_that_cannot_be_is_refused(interactions, small_config, tmp_path):
    (tmp_path / "file").write_text("x")
    config = Config(**{**small_config.model_dump(), "log_dir": str(tmp_path / "file" / "logs")})
    with pytest.raises(ConfigError, match="log_dir"):
        recgan.train(interactions, config=config)


@pytest.mark.parametrize("n_users", [1, 2])
def test_very_few_users(small_config, n_users):
    frame = pd.DataFrame({"user_id": np.repeat(range(n_users), 4), "item_id": [*range(4), *range(2, 6)][: 4 * n_users]})
    some = recgan.train(frame, config=small_config)
    lists = some.recommend_batch(n=3)
    assert (lists["item_id"].isin(frame["item_id"])).all()
    assert len(some.recommend("somebody", 3)) == 3


# --- tune ---


def test_tune_begins_at_the_config_and_is_never_worse(interactions, small_config):
    pytest.importorskip("optuna")
    quick = small_config.changed(epochs=3, game_steps=5)
    found = recgan.tune(interactions, config=quick, n_trials=2, seed=5)
    assert (found.seed, found.game_steps, found.epochs) == (5, 5, 3)
    assert found == recgan.tune(interactions, config=quick, n_trials=2, seed=5)
    values = [
        recgan.train(interactions, config=one.changed(game_steps=0)).info()["ablation"]["both + discriminator"]
        for one in (found, quick.changed(seed=5))
    ]
    assert values[0] >= values[1]
    assert recgan.tune(interactions, config=quick, n_trials=1) == quick


def test_a_search_of_which_no_training_ends_says_why(interactions, small_config, monkeypatch):
    pytest.importorskip("optuna")

    def exploded(*_, **__):
        raise TrainingError("the loss is nan")

    monkeypatch.setattr("recgan.training.tuning.train", exploded)
    with pytest.raises(TrainingError, match="no training came to its end: the loss is nan"):
        recgan.tune(interactions, config=small_config, n_trials=2)


def test_tune_refuses_what_cannot_be(interactions, monkeypatch):
    for bad in ({"time_limit": 0.0}, {"n_trials": 0}, {"config": {"epochs": 3}}):
        with pytest.raises(ConfigError):
            recgan.tune(interactions, **bad)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"recgan\[tune\]"):
        recgan.tune(interactions, n_trials=1)


def test_few_users_choose_weights_by_bagging(monkeypatch):
    from recgan.training import validation as chosen

    asked = []
    monkeypatch.setattr(chosen, "_search", lambda proposals, alone, value: asked.append(1) or Weights(dense=len(asked)))
    for users, wanted in ((5000, 1.0), (3, 4.5)):
        ones = np.ones((users, 2))
        scores = {"generated": ones, "popularity": ones}
        proposals = chosen.Proposals(np.zeros((users, 2), np.int64), scores, np.ones(users, np.int64))
        validation = Validation.__new__(Validation)
        object.__setattr__(validation, "truth", Histories.from_lists([[0]] * users, 2))
        asked.clear()
        assert chosen.choose_weights(proposals, validation, Weights()).dense == pytest.approx(wanted)
    assert len(asked) == chosen.BAGS


def test_the_mean_of_weights_does_not_hang_on_their_scale():
    from recgan.training.validation import _mean_weights

    unit = {"generated": 2.0, "dense": 0.5, "popularity": 1.0}
    one, other = Weights(dense=4.0, popularity=1.0), Weights(generated=0.0, dense=30.0, popularity=-5.0)
    tenth = Weights(generated=0.0, dense=3.0, popularity=-0.5)
    both = [_mean_weights([one, some], unit) for some in (other, tenth)]
    np.testing.assert_allclose(
        *([w.dense / w.generated, w.popularity / w.generated] for w in both),
    )
    assert _mean_weights([one, one], unit) == one


def validation_of(histories: Histories, metric: str = "ndcg@5") -> Validation:
    kept, hidden = carve(histories, 1000, seed=0)
    return Validation(Query(kept, kept, np.zeros((len(kept), 0), np.float32)), hidden, hidden.lengths, metric)


def test_proposals_are_ranked_as_the_whole_catalogue_is(model):
    some, validation = model._blocks, validation_of(model._histories)
    proposals = propose(some, validation)
    together = Weights(dense=2.0, factors=1.0, sparse=3.0, popularity=0.2)
    short = dataclasses.replace(together, short_generated=0.5, short_popularity=0.7)
    for weights in (Weights(), together, short, dataclasses.replace(short, fade=2.0)):
        served, _ = Ranker(dataclasses.replace(some, weights=weights), None, 1).rank(validation.query, 5)
        np.testing.assert_array_equal(proposals.ranked(weights, 5), served)
        hits = proposals.of_best(validation.hits(proposals.numbers), False, weights, 5)
        np.testing.assert_array_equal(hits, validation.hits(served))


def test_least_squares_climb_from_where_they_start(interactions, monkeypatch):
    users, items = (Vocabulary.of(interactions[name]) for name in ("user_id", "item_id"))
    validation = validation_of(Histories.from_frame(interactions[["user_id", "item_id"]], users, items))
    forms = ClosedForms(validation.query.histories, validation, seed=0)
    found = forms.factors()
    assert found.value >= forms._made_factors(32, 0.2, 6.0).value
    np.testing.assert_array_equal(found.fit(validation.query.histories).columns, found.block.columns)
    monkeypatch.setattr(closed, "LONG_FIT", 0.0)
    coarse = ClosedForms(validation.query.histories, validation, seed=0)
    coarse.factors()
    ridges = np.log2([ridge / 6.0 for _, _, ridge in coarse._tried])
    np.testing.assert_allclose(ridges, np.round(ridges), atol=1e-3)
    monkeypatch.setattr(closed, "FACTORS_BUDGET", 3.5 * linear.factors_cost(validation.query.histories, 60))
    short_of_time = ClosedForms(validation.query.histories, validation, seed=0)
    short_of_time.factors()
    assert len(short_of_time._tried) == 3
    monkeypatch.setattr(closed, "FACTORS_COST", 0.0)
    assert ClosedForms(validation.query.histories, validation, seed=0).factors().settings["rank"] <= 32


def test_short_histories_are_cut_from_longer_ones(interactions):
    users, items = (Vocabulary.of(interactions[name]) for name in ("user_id", "item_id"))
    validation = validation_of(Histories.from_frame(interactions, users, items))
    for one in short.shortened(validation, seed=0):
        length = one.query.histories.lengths[0]
        assert (one.query.histories.lengths == length).all()
        assert len(one) == (validation.query.histories.lengths > length).sum()
        assert one.query.blocked.lengths.min() > length  # what was cut away stays out of the lists


@pytest.mark.parametrize("liked", [True, False])
def test_popularity_counts_more_for_short_histories_where_it_helps(model, liked, monkeypatch):
    """Everybody holds out what is popular, or what is least so; the blocks know nothing of it."""
    histories = model._histories
    order = np.argsort(-model._blocks.popularity if liked else model._blocks.popularity, kind="stable")
    held = Histories.from_lists([order[:5]] * len(histories), histories.n_items)
    nothing = Histories.from_lists([np.empty(0, np.int64)] * len(histories), histories.n_items)
    query = Query(histories, nothing, np.zeros((len(histories), 0), np.float32))
    validation = Validation(query, held, held.lengths, "ndcg@5")
    monkeypatch.setattr(short, "FEWEST", 1)
    chosen = short.choose_short(model._blocks, validation, Weights(), 0)
    assert chosen.short_popularity > 0.0 if liked else chosen == Weights()
    value = short.Case.value

    def told(case: short.Case, weights: Weights) -> float:
        return value(case, weights) - float(case.validation.metric == "ndcg@50" and weights != Weights())

    monkeypatch.setattr(short.Case, "value", told)
    assert short.choose_short(model._blocks, validation, Weights(), 0) == Weights()  # longer lists would lose by it


@pytest.mark.parametrize("wanted", ["generated", "popularity"])
def test_strangers_get_of_the_generator_what_serves_the_users_of_the_training(model, wanted):
    """Everybody has what the generator wants without a history, or what is popular."""
    n_items = model._histories.n_items
    nothing = Histories.from_lists([np.empty(0, np.int64)], n_items)
    query = Query(nothing, nothing, np.zeros((1, 0), np.float32))
    score = by_parts(model._blocks)[wanted](query).at(np.arange(n_items)[None])[0]
    random = np.random.default_rng(0)
    rows = [np.union1d(np.argsort(-score)[:10], random.permutation(n_items)[:3]) for _ in range(100)]
    blocks = dataclasses.replace(model._blocks, weights=Weights(popularity=1.0), opening=None)
    chosen = short.choose_unknown(blocks, Histories.from_lists(rows, n_items), "ndcg@5", 0)
    assert (chosen.unknown > 0.0) == (wanted == "generated")
    assert dataclasses.replace(chosen, unknown=1.0) == blocks.weights
    silent = dataclasses.replace(blocks, weights=Weights(popularity=1.0, unknown=0.0))
    assert short.choose_unknown(silent, Histories.from_lists(rows, n_items), "ndcg@5", 0).unknown == 0.0


@pytest.mark.parametrize(("n", "rarer", "pays"), [(100, True, True), (100, False, False), (49, False, True)])
def test_strangers_are_asked_whether_the_cover_serves_them(model, n, rarer, pays):
    """Two tastes in the training, one of them rarer; what strangers have, the cover's list or the popular one lacks."""
    n_items, random = model._histories.n_items, np.random.default_rng(0)
    both = [np.flatnonzero(random.random(12) < 0.7) + 12 * (user >= 90) for user in range(150)]
    histories = Histories.from_lists(both, n_items)
    popularity = np.log1p(histories.counts()).astype(np.float32)
    blocks = dataclasses.replace(model._blocks, weights=Weights(0.0, popularity=1.0), popularity=popularity)
    blocks = dataclasses.replace(blocks, opening=None)
    order = np.argsort(-(popularity + opening(histories, popularity)), kind="stable")[:10]
    gone = np.setdiff1d(np.argsort(-popularity, kind="stable")[:10], order)
    likes = np.setdiff1d(order, np.argsort(-popularity, kind="stable")[:10])[:1] if rarer else gone[:1]
    nothing = Histories.from_lists([np.empty(0, np.int64)] * n, n_items)
    query = Query(nothing, nothing, np.zeros((n, 0), np.float32))
    validation = Validation(query, Histories.from_lists([likes] * n, n_items), np.ones(n, np.int64), "ndcg@10")
    assert short.cover_pays(blocks, histories, None, validation) == pays


def test_where_the_cover_does_not_pay_strangers_get_what_is_popular(small_config, monkeypatch):
    monkeypatch.setattr(run, "cover_pays", lambda *_: False)
    rows = [(user, item) for user in range(60) for item in np.random.default_rng(user).permutation(20)[:6]]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
    model = recgan.train(frame, config=small_config)
    assert model.info()["cover"] is False
    for some in (model, recgan.update(model, pd.DataFrame({"user_id": [99], "item_id": [3]}))):
        assert not some._blocks.opening.any()


def test_strangers_get_an_order_of_their_own_and_nobody_else(small_config):
    """Two tastes, one of them rarer: the first list holds both; what known users get does not hang on it."""
    random = np.random.default_rng(0)
    rows = [(user, item + 12 * (user >= 90)) for user in range(150) for item in np.flatnonzero(random.random(12) < 0.7)]
    model = recgan.train(pd.DataFrame(rows, columns=["user_id", "item_id"]), config=small_config)
    blocks = model._blocks
    np.testing.assert_array_equal(blocks.opening, opening(model._histories, blocks.popularity))
    blocks = dataclasses.replace(blocks, weights=dataclasses.replace(blocks.weights, popularity=1.0, unknown=0.0))
    users, known = [0, 100, 999], [0, 100]

    def lists_of(some: Blocks) -> pd.Series:
        model._blocks, model._ranker = some, Ranker(some, None, 20)
        return model.recommend_batch(users, 10).set_index("user_id")["item_id"]

    lists, plain = lists_of(blocks), lists_of(dataclasses.replace(blocks, opening=None))
    assert lists[known].tolist() == plain[known].tolist()
    assert 3 <= (lists[999] >= 12).sum() <= 5
    assert (plain[999] >= 12).sum() <= 1


@pytest.mark.parametrize("wrong", ["split", "frame"])
def test_a_validation_of_another_kind_is_refused_before_anything_is_read(interactions, small_config, wrong):
    split = recgan.split_users(interactions, n_test=10, n_validation=10)
    given = split if wrong == "split" else split.train
    with pytest.raises(recgan.ConfigError, match=f"such as split.validation, not {type(given).__name__}"):
        recgan.train(split.train, validation=given, config=small_config)
    with pytest.raises(recgan.ConfigError, match="a Holdout"):
        recgan.baselines.EASE.tune(split.train, given)


@pytest.mark.parametrize("name", ["items", "users"])
def test_a_table_that_describes_nothing_is_told_of(interactions, name):
    column = name.removesuffix("s") + "_id"
    table = pd.DataFrame({column: [5000, 5001], "categories": ["a", "b"]})
    config = recgan.Config(progress=False)
    with pytest.warns(
        UserWarning, match=rf"{name}: none of its 2 ids, such as 5000, occurs .* is it the right column\?"
    ):
        read_data(interactions, *([table, None] if name == "items" else [None, table]), None, config)


def test_what_categories_say_of_rare_items_is_learned_where_it_is_true(small_config):
    random, groups = np.random.default_rng(0), np.arange(90) % 6
    frame = planted(n_users=150, n_items=90, n_groups=6, noise=0.0, seed=0)
    rare = np.arange(90) % 3 == 0
    frame = frame[~rare[frame["item_id"].to_numpy()] | (random.random(len(frame)) < 0.08)]
    frame = frame.assign(position=np.arange(len(frame)))
    config = small_config.changed(game_steps=0, encoder="sequence")

    def told_apart(labels):
        """How much more alike rare items are to those of their group than to others."""
        items = (
            None if labels is None else pd.DataFrame({"item_id": range(90), "categories": [f"g{n}" for n in labels]})
        )
        vectors = recgan.train(frame, items, config=config).item_vectors()
        unit = vectors.to_numpy() - vectors.to_numpy().mean(0)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        group, some = groups[vectors.index], rare[vectors.index]
        alike, same = (unit @ unit.T)[some], (group[:, None] == group)[some]
        return alike[same].mean() - alike[~same].mean()

    without = told_apart(None)
    assert told_apart(groups) > without + 0.1
    assert told_apart(random.permutation(groups)) < without + 0.05
