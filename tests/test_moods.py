"""Moods and uncertainty of a model whose users like two of six groups of items each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from planted import planted, shuffled
from sklearn.metrics import roc_auc_score

import recgan
from recgan import moods as taste
from recgan.errors import ConfigError, UnknownUserError

GROUPS, ITEMS = 6, 90


def two_tastes(n_users: int = 200, seed: int = 0) -> pd.DataFrame:
    """User u likes items of the groups u and u + 1 + (u // 6) % 5."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for group in tastes(user):
            own = np.arange(group, ITEMS, GROUPS)
            rows.append(pd.DataFrame({"user_id": user, "item_id": random.permutation(own)[:7]}))
    return pd.concat(rows, ignore_index=True)


def tastes(user: int) -> set[int]:
    return {user % GROUPS, (user + 1 + user // GROUPS % (GROUPS - 1)) % GROUPS}


@pytest.fixture(scope="module")
def trained(small_config):
    config = recgan.Config(**{**small_config.model_dump(), "epochs": 30, "game_steps": 150})
    return recgan.train(two_tastes(), config=config)


def catalogue() -> pd.DataFrame:
    items = pd.DataFrame({"item_id": range(ITEMS)})
    items["title"] = [f"Title {i}" for i in range(ITEMS)]
    items["categories"] = [f"group {i % GROUPS}" for i in range(ITEMS)]
    items["year"] = [1950 + 10 * (i % GROUPS) for i in range(ITEMS)]
    return items


@pytest.fixture(scope="module")
def described(small_config):
    config = recgan.Config(**{**small_config.model_dump(), "epochs": 30, "game_steps": 150})
    return recgan.train(two_tastes(), catalogue(), config=config)


def purity(model: recgan.Recommender, users: range) -> tuple[float, float]:
    """Share of a mood's items that are of its main group, and of users whose two moods have the user's two groups."""
    pure, both = [], []
    for user in users:
        frame = model.moods(user, n=4, moods=2)
        groups = frame["item_id"] % GROUPS
        main = [groups[frame["mood"] == mood].mode()[0] for mood in (0, 1)]
        pure += [(groups[frame["mood"] == mood] == main[mood]).mean() for mood in (0, 1)]
        both.append(set(main) == tastes(user))
    return float(np.mean(pure)), float(np.mean(both))


@pytest.mark.parametrize("name", ["trained", "described"])
def test_moods_tell_two_tastes_apart(name, request):
    pure, both = purity(request.getfixturevalue(name), range(60))
    assert pure > 0.8
    assert both > 0.8


def test_without_a_structure_there_is_nothing_to_tell_apart(small_config):
    config = recgan.Config(**{**small_config.model_dump(), "game_steps": 50})
    pure, both = purity(recgan.train(shuffled(two_tastes(), 1), config=config), range(40))
    assert pure < 0.7
    assert both < 0.5


def test_the_game_gives_the_noise_its_meaning_and_leaves_the_list_alone(trained, small_config):
    settings = {**trained._config.model_dump(), "game_steps": 0}
    without = recgan.train(two_tastes(), config=recgan.Config(**settings))
    assert trained.recommend_batch(n=10).equals(without.recommend_batch(n=10))
    assert trained.uncertainty()["uncertainty"].mean() > 2 * without.uncertainty()["uncertainty"].mean()


def test_the_frame_of_moods(described):
    frame = described.moods(3, n=5, moods=4)
    assert frame.columns.tolist() == ["user_id", "mood", "name", "item_id", "rank", "score"]
    assert frame["user_id"].eq(3).all()
    assert frame["item_id"].is_unique
    for mood, part in frame.groupby("mood"):
        assert part["rank"].tolist() == [1, 2, 3, 4, 5]
        assert part["score"].is_monotonic_decreasing
        assert part["name"].nunique() == 1
        assert mood in range(4)
    seen = set(two_tastes().query("user_id == 3")["item_id"])
    assert not seen & set(frame["item_id"])
    pd.testing.assert_frame_equal(frame, described.moods(3, n=5, moods=4))


def test_moods_share_the_history(described):
    share = described.moods(3, n=5, moods=4).attrs["share"]
    assert len(share) == 4
    assert sum(share) == pytest.approx(1.0)
    assert share == sorted(share, reverse=True)
    assert described.moods(3, n=0).attrs["share"] == []


def test_moods_are_named_by_what_sets_them_apart(described, trained):
    frame = described.moods(0, n=4, moods=2)
    for name, part in frame.groupby("name"):
        most = part["item_id"].mod(GROUPS).mode()  # two where a mood is half of each
        assert any(set(name.split(", ")) <= {f"group {group}", f"{1950 + 10 * group}s"} for group in most)
    assert trained.moods(0, moods=2)["name"].str.match(r"like \d+$").all()


def test_moods_obey_items_and_exclude(described):
    every = described.moods(3, n=3, moods=3)
    gone = every["item_id"].tolist()[:4]
    assert not set(gone) & set(described.moods(3, n=3, moods=3, exclude=gone)["item_id"])
    only = described.moods(3, n=10, moods=3, items=range(20), filter_seen=False)
    assert set(only["item_id"]) == set(range(20))
    assert len(only) == 20
    assert described.moods(3, items=[], filter_seen=False).empty


def test_moods_of_a_history_of_one_item_and_of_none(described, trained):
    for model in (described, trained):
        for history in ([5], []):
            frame = model.moods(history=history, n=3)
            assert len(frame) == 12
            assert frame["item_id"].is_unique
            assert 5 not in frame["item_id"].tolist() or not history
    assert described.moods("somebody", history=[5, 11])["user_id"].eq("somebody").all()


def test_no_moods(described):
    frame = described.moods(3, n=0)
    assert frame.empty
    assert frame.dtypes.astype(str).tolist()[:2] == ["int64", "int64"]
    assert frame.columns.tolist() == described.moods(3).columns.tolist()
    everything = described.moods(history=list(range(ITEMS)))
    assert everything.empty


@pytest.mark.parametrize("moods", [0, -1, 65, 2.0, True, None, "2"])
def test_a_bad_number_of_moods(described, moods):
    with pytest.raises(ConfigError, match="moods: a whole number from 1 to 64"):
        described.moods(3, moods=moods)


def test_moods_of_nobody(described):
    with pytest.raises(ConfigError, match="give a user_id"):
        described.moods()
    with pytest.raises(UnknownUserError, match="999"):
        described.moods(999)
    with pytest.raises(ConfigError, match="n: a whole number"):
        described.moods(3, n=-1)


def test_moods_and_uncertainty_survive_save_and_load(described, tmp_path):
    described.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.moods(3), described.moods(3))
    pd.testing.assert_frame_equal(loaded.uncertainty([5, 3]), described.uncertainty([5, 3]))


def test_uncertainty_is_higher_for_users_without_a_pattern(small_config):
    frame = planted(n_users=600, n_items=60, n_groups=4, noise=0.0, seed=0)
    odd = frame["user_id"] % 8 >= 4
    mixed = pd.concat([frame[~odd], shuffled(frame[odd], 0)], ignore_index=True)
    told = recgan.train(mixed, config=small_config.changed(epochs=30, game_steps=200)).uncertainty()
    assert roc_auc_score(told["user_id"] % 8 >= 4, told["uncertainty"]) > 0.8


def test_uncertainty_keeps_the_order(described):
    told = described.uncertainty()
    assert told.columns.tolist() == ["user_id", "uncertainty"]
    assert told["user_id"].tolist() == described.users.tolist()
    assert told["uncertainty"].ge(0.0).all()
    some = described.uncertainty([7, 2])
    assert some["user_id"].tolist() == [7, 2]
    np.testing.assert_allclose(some["uncertainty"], told.set_index("user_id")["uncertainty"].loc[[7, 2]], atol=1e-5)
    assert described.uncertainty([]).empty


def test_uncertainty_of_unknown_and_repeated_users(described):
    with pytest.raises(UnknownUserError, match="999"):
        described.uncertainty([3, 999])
    with pytest.raises(recgan.DataError, match="3"):
        described.uncertainty([3, 3])


def test_a_category_that_is_called_like_a_decade(described):
    """Both are one label; a mood has it where its items have either."""
    items = catalogue().assign(categories=[f"group {i % GROUPS}|{'1950s' if i % 2 else 'new'}" for i in range(ITEMS)])
    flags = taste._flags(items)
    assert flags.columns.is_unique
    assert flags["1950s"].tolist() == [float(i % 2 or i % GROUPS == 0) for i in range(ITEMS)]
    lists = np.arange(0, ITEMS, GROUPS), np.arange(1, ITEMS, 2)
    some = [taste.Mood(numbers, np.zeros(len(numbers)), np.zeros(4, np.float32), 0.5) for numbers in lists]
    assert taste.names(some, items, np.eye(ITEMS, dtype=np.float32), np.array([0]))[0] == "group 0, new"


def test_all_unknown_users_are_named_at_once(trained):
    with pytest.raises(UnknownUserError, match="unknown users 1000, 1002: give"):
        trained.uncertainty([1, 1000, 2, 1002])
    with pytest.raises(UnknownUserError, match="unknown users 1000, 1002: give"):
        trained.remove_users([1000, 1002])
