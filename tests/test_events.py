"""Events with weights and dislikes: how they are read, where they count, what is never listed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted

import recgan
from recgan import linear, losses
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories, Strength
from recgan.networks import build_generator
from recgan.popularity import decayed_counts
from recgan.training import closed
from recgan.training.batches import SequenceBatches
from recgan.training.data import read_data
from recgan.training.softmax import RankingLoss
from recgan.training.validation import enough

EVENTS = pd.DataFrame(
    {
        "user_id": [1, 1, 1, 2, 2],
        "item_id": [7, 7, 8, 7, 9],
        "event_type": ["view", "buy", "view", "dislike", "cart"],
        "timestamp": [3, 1, 2, 4, 5],
    }
)
WORTH = {"view": 1, "cart": 3, "buy": 5, "dislike": -10}


def weighted(*rows: list[float]) -> Histories:
    """Histories of users who have all items, with these weights."""
    lengths = [len(row) for row in rows]
    items = np.concatenate([np.arange(length) for length in lengths])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(offsets, items, max(lengths), weights=np.concatenate(rows).astype(np.float32))


def test_events_become_weights_that_add_up():
    read = recgan.read_interactions(EVENTS, weights=WORTH)
    assert read.columns.tolist() == ["user_id", "item_id", "weight", "timestamp"]
    assert read["weight"].tolist() == [6.0, 1.0, -10.0, 3.0]
    assert read["timestamp"].tolist() == [3, 2, 4, 5]
    last = recgan.read_interactions(EVENTS, weights=WORTH, duplicates="last")
    assert last["weight"].tolist() == [1.0, 1.0, -10.0, 3.0]


def test_what_is_wrong_with_events_is_told():
    with pytest.raises(DataError, match=r"'event' holds 'cart', 'dislike', which weights= does not name \(rows 3, 4\)"):
        recgan.read_interactions(EVENTS, weights={"view": 1, "buy": 5})
    with pytest.raises(DataError, match="weights needs a column 'event'"):
        recgan.read_interactions(EVENTS.drop(columns="event_type"), weights=WORTH)
    with pytest.raises(DataError, match="'weight' is there already"):
        recgan.read_interactions(EVENTS.assign(weight=1), weights=WORTH)
    with pytest.raises(DataError, match="infinite values"):
        recgan.read_interactions(EVENTS, weights={**WORTH, "buy": np.inf})
    with pytest.raises(DataError, match="max_dislike_rating needs a column 'rating'"):
        recgan.read_interactions(EVENTS, max_dislike_rating=2)
    with pytest.raises(ConfigError, match="below min_rating=4"):
        recgan.read_interactions(EVENTS.assign(rating=1), min_rating=4, max_dislike_rating=4)


def test_low_ratings_as_dislikes():
    rated = pd.DataFrame({"user_id": [1, 1, 1, 1], "item_id": [1, 2, 3, 4], "rating": [5, 3, 2, 4]})
    read = recgan.read_interactions(rated, min_rating=4, max_dislike_rating=2)
    assert read.to_numpy().tolist() == [[1, 1, 1.0], [1, 3, -1.0], [1, 4, 1.0]]
    assert recgan.read_interactions(rated, max_dislike_rating=2)["weight"].tolist() == [1.0, 1.0, -1.0, 1.0]
    with pytest.raises(DataError, match="leaves no row that is liked"):
        recgan.read_interactions(rated, min_rating=5.5, max_dislike_rating=2)


def test_whole_weights_equal_repeated_users():
    """Of least squares and counts: a weight of two is the same user twice, or the same event twice."""
    plain, random = planted(40, 20, 4, 0.2, 0), np.random.default_rng(0)
    users, items = (recgan.vocabulary.Vocabulary.of(plain[name]) for name in ("user_id", "item_id"))
    doubled = plain.assign(weight=random.integers(1, 3, len(plain)))
    histories = Histories.from_frame(doubled, users, items)
    twice = Histories.from_frame(plain.loc[plain.index.repeat(doubled["weight"])], users, items)
    np.testing.assert_array_equal(decayed_counts(histories, None), twice.counts())
    vectors = random.standard_normal((len(items), 5)).astype(np.float32)
    block = linear.Factors(vectors, unseen=0.2, ridge=3.0)
    for user in range(3):
        had = vectors[twice.of(user)].astype(np.float64)
        left = had.T @ had + 0.2 * vectors.T @ vectors + 3.0 * np.eye(5)
        np.testing.assert_allclose(block.queries(histories)[user], np.linalg.solve(left, had.sum(0)), rtol=1e-4)


def test_weighted_ease_is_ease_of_the_weighted_matrix():
    frame = planted(40, 20, 4, 0.2, 0)
    frame["weight"] = np.random.default_rng(1).uniform(0.5, 3.0, len(frame))
    users, items = (recgan.vocabulary.Vocabulary.of(frame[name]) for name in ("user_id", "item_id"))
    histories = Histories.from_frame(frame, users, items)
    x = histories.weighted().toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 30.0 * np.eye(20))
    wanted = x @ (-inverse / np.diag(inverse))
    found = linear.ease(linear.spectrum(histories), 30.0).scores(histories)
    outside = x == 0
    np.testing.assert_allclose(found[outside], wanted[outside], rtol=1e-3, atol=1e-5)


def test_strengths():
    histories = weighted([1.0, 4.0], [2.0])
    assert histories.strengthened(Strength(mean=1.0, power=0.5)).weights.tolist() == [1.0, 2.0, np.float32(2**0.5)]
    assert histories.strengthened(Strength(mean=2.0)).weights is None
    kept = histories.part(np.array([False, True, True])).take(np.array([1, 0]))
    assert kept.weights.tolist() == [2.0, 4.0]
    assert kept.window_weights(np.array([0, 1]), 5).tolist() == [[2.0], [4.0]]
    np.testing.assert_array_equal(histories.window_weights(np.array([0, 1]), 5), [[1.0, 4.0], [2.0, 0.0]])


def test_the_loss_counts_a_target_by_its_weight():
    logits, targets = torch.randn(2, 6), torch.tensor([[0, 1], [2, 3]])
    there = torch.ones(2, 2, dtype=torch.bool)
    once = losses.ranking_loss(logits, targets, there, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    chosen = torch.log_softmax(logits, 1)[0, 0]
    torch.testing.assert_close(once, -chosen / 2 * 2**0.5 / (2 * 2**0.5))
    ones = losses.ranking_loss(logits, targets, there, torch.ones(2, 2))
    torch.testing.assert_close(ones, losses.ranking_loss(logits, targets, there))


@pytest.fixture(scope="module")
def noisy():
    """Every user also meets as many items of another group, with a tenth of the weight, and dislikes two of the own."""
    own = planted(90, 40, 4, 0.0, 0).assign(weight=10.0)
    other = planted(90, 40, 4, 0.0, 1).assign(user_id=lambda frame: (frame["user_id"] + 1) % 90, weight=1.0)
    both = pd.concat([own, other]).drop_duplicates(["user_id", "item_id"])
    disliked = own.groupby("user_id").nth([0, 1]).assign(weight=-1.0)
    return pd.concat([disliked, both]).drop_duplicates(["user_id", "item_id"], ignore_index=True)


@pytest.fixture(scope="module")
def weighing(noisy, small_config):
    return recgan.train(noisy, config=small_config.changed(epochs=3, game_steps=0))


def test_weights_are_heeded_where_they_tell_and_not_where_they_do_not(noisy, weighing, small_config):
    assert weighing.info()["strength"]["power"] > 0
    assert weighing.info()["strength"]["mean"] == pytest.approx(noisy["weight"][noisy["weight"] > 0].mean())
    lists = weighing.recommend_batch(n=2)
    assert ((lists["item_id"] - lists["user_id"]) % 4 == 0).mean() > 0.8


def test_sequences_are_trained_with_weights(small_config, monkeypatch):
    monkeypatch.setattr(closed, "POWERS", (1.0,))  # weights as random as these would not be heeded
    frame = planted(40, 20, 4, 0.0, 0, ordered=True)
    frame["weight"] = np.random.default_rng(1).integers(1, 4, len(frame))
    config = small_config.changed(epochs=1, game_steps=3, encoder="sequence")
    model, plain = (recgan.train(some, config=config) for some in (frame, frame.drop(columns="weight")))
    assert model.info()["strength"]["power"] == 1.0
    assert np.isfinite(model.recommend_batch(n=3)["score"]).all()
    assert not model.item_vectors().equals(plain.item_vectors())


@pytest.mark.parametrize("window", [2, 9])
def test_batches_of_sequences_tell_the_weight_of_every_item(window):
    """Whoever stands beside a user, and where only the newest items of a history are read."""
    lengths = [5, 1, 3, 9, 2]
    offsets, n = np.concatenate([[0], np.cumsum(lengths)]), sum(lengths)
    times = np.arange(n, dtype=np.float64)
    histories = Histories(offsets, np.arange(n), n, times, True, weights=times.astype(np.float32) + 1.0)
    told = []
    for batch in SequenceBatches(histories, window, 0):
        weights, mask = batch["target_weights"], batch["mask"]
        assert torch.equal(weights[mask], batch["items"][mask] + 1.0)
        assert not weights[~mask].any()
        told += batch["items"][mask].tolist()
    assert len(told) == sum(min(window + 1, length) for length in lengths)


def test_a_sequence_counts_every_target_by_its_weight():
    torch.manual_seed(0)
    config = recgan.Config(embedding_dim=8, hidden_dim=16, noise_dim=3)
    generator = build_generator(config, "sequence", {"vectors": torch.randn(12, 8)}, window=5).eval()
    items, mask = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[True, True, True], [True, True, False]])
    weights = torch.tensor([[0.5, 2.0, 1.0], [3.0, 0.0, 7.0]])
    loss = RankingLoss(generator, True, 5, None)({"items": items, "mask": mask, "target_weights": weights})
    states = generator.states(items)[:, :-1]
    chances = torch.log_softmax(generator.wanted(states) @ generator.item_vectors().T, -1)
    each = [weights[row, at] * chances[row, at, items[row, at]] for row, at in mask.nonzero().tolist()]
    torch.testing.assert_close(loss, -torch.stack(each).mean())


def test_a_checkpoint_is_of_its_weights_and_dislikes(small_config, tmp_path):
    frame = planted(30, 20, 2, 0.0, 0)
    frame["weight"] = np.random.default_rng(1).integers(1, 4, len(frame))
    config = small_config.changed(epochs=1, game_steps=0, checkpoint_dir=str(tmp_path / "kept"))
    lists = recgan.train(frame, config=config).recommend_batch(n=3)
    assert recgan.train(frame, config=config).recommend_batch(n=3).equals(lists)
    with pytest.raises(ConfigError, match="another run, with other data"):
        recgan.train(frame.assign(weight=frame["weight"].where(frame.index != 5, -1)), config=config)


def test_equal_weights_change_nothing(interactions, small_config):
    config = small_config.changed(epochs=2, game_steps=5)
    ours = recgan.train(interactions, config=config)
    theirs = recgan.train(interactions.assign(weight=0.1), config=config)
    assert theirs.recommend_batch(n=5).equals(ours.recommend_batch(n=5))
    assert "strength" not in ours.info()


def test_what_is_disliked_is_never_listed(noisy, weighing, tmp_path):
    disliked = noisy[noisy["weight"] < 0]
    weighing.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    popular = recgan.baselines.Popular().fit(noisy)
    for model in (weighing, loaded, popular, weighing.remove_users([0])):
        for options in ({}, {"filter_seen": False}):
            lists = model.recommend_batch(n=40, **options)
            known = disliked[disliked["user_id"].isin(model.users)]
            assert known.merge(lists, on=["user_id", "item_id"]).empty
            assert len(lists)
    assert loaded.recommend_batch(n=9).equals(weighing.recommend_batch(n=9))


def test_a_given_history_with_dislikes(weighing):
    history = pd.DataFrame({"user_id": 5, "item_id": [1, 5, 9, 13], "weight": [10, 10, -1, 1]})
    lists = weighing.recommend_batch([5, 6], 40, histories=history, filter_seen=False)
    mine = lists[lists["user_id"] == 5]["item_id"]
    assert 9 not in set(mine)
    assert {1, 5, 13} <= set(mine)
    assert mine.tolist() == weighing.recommend(5, 40, history=history, filter_seen=False)["item_id"].tolist()
    assert (
        lists[lists["user_id"] == 6]["item_id"].tolist()
        == weighing.recommend(6, 40, filter_seen=False)["item_id"].tolist()
    )
    light = weighing.recommend(history=history.assign(weight=[1, 10, -1, 10]), filter_seen=False)
    assert light["score"].tolist() != weighing.recommend(history=history, filter_seen=False)["score"].tolist()


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_stored_and_given_dislikes_stay_with_their_users(model, weighing, noisy, stored, given):
    """Whether the model knows any, the frame holds any, both or neither; what is liked by now is no dislike."""
    some = weighing if stored else model
    weight = [1.0, 1.0, -1.0 if given else 1.0]
    frame = pd.DataFrame({"user_id": [5, 7, 7], "item_id": [1, 2, 3], "weight": weight})
    lists = some.recommend_batch([7, 6, 5], 60, histories=frame, filter_seen=False).groupby("user_id")["item_id"]
    known = noisy[noisy["weight"] < 0].groupby("user_id")["item_id"].agg(set) if stored else {}
    liked, refused = {5: {1}, 6: set(), 7: {2} if given else {2, 3}}, {7: {3} if given else set()}
    for user, items in lists:
        assert set(some.items) - set(items) == (known.get(user, set()) | refused.get(user, set())) - liked[user]


def test_a_dislike_is_no_part_of_a_truth(noisy):
    truth = pd.DataFrame({"user_id": [1, 1], "item_id": [2, 3], "weight": [1.0, -1.0]})
    lists = pd.DataFrame({"user_id": [1, 1], "item_id": [3, 2], "rank": [1, 2]})
    assert recgan.evaluate(lists, truth, ["mrr@2"]) == {"mrr@2": 0.5}
    with pytest.raises(DataError, match="no row has a weight above 0"):
        recgan.evaluate(lists, truth.assign(weight=-1), ["mrr@2"])
    with pytest.raises(DataError, match="nobody likes anything"):
        recgan.train(truth.assign(weight=-1))


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_disliked_item_that_nobody_likes_is_not_listed_either(on_disk, small_config, tmp_path):
    """It comes into the catalogue with its content alone."""
    frame = planted(40, 20, 2, 0.0, 0).assign(weight=1.0)
    frame = pd.concat([frame, pd.DataFrame({"user_id": [0, 1], "item_id": [20, 20], "weight": [-1.0, 0.0]})])
    items = pd.DataFrame({"item_id": range(22), "categories": [f"kind {item % 2}" for item in range(22)]})
    config = small_config.changed(epochs=1, game_steps=0)
    source: object = frame
    if on_disk:
        source = tmp_path / "log.parquet"
        frame.to_parquet(source, index=False)
        config = config.changed(rows_in_memory=len(frame) // 2)
    model = recgan.train(source, items, config=config)
    lists = model.recommend_batch(users=[0, 1, 2], n=100).groupby("user_id")["item_id"].agg(set)
    assert [20 in lists[user] for user in (0, 1, 2)] == [False, False, True]
    assert all(21 in lists[user] for user in (0, 1, 2))
    model.save(tmp_path / "model")
    assert 20 not in set(recgan.Recommender.load(tmp_path / "model").recommend(0, 100)["item_id"])


@pytest.mark.parametrize("given", [False, True])
def test_where_hardly_anybody_has_a_weighty_event_all_events_validate(given, small_config):
    frame = planted(60, 30, 3, 0.0, 0).assign(weight=1.0)
    frame.loc[frame.index[:5], "weight"] = 50.0
    holdout = recgan.split_users(frame, 1, 12) if given else None
    config = small_config.changed(epochs=1, game_steps=0)
    train = frame if holdout is None else holdout.train
    tables = read_data(train, None, None, holdout and holdout.validation, config)
    assert len(tables.validation) >= 10


def test_a_weighty_event_counts_alone_where_half_of_the_users_have_one():
    found = [enough(*some) for some in ((0, 10), (4, 10), (5, 10), (49, 1000), (50, 1000))]
    assert found == [False, False, True, False, True]
