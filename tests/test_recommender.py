from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from contract import CONTRACT, remembered

import recgan
from recgan import artifact
from recgan.draws import unlike, wanted_vectors
from recgan.errors import ArtifactError, ConfigError, DataError, UnknownItemError, UnknownUserError


@pytest.fixture(scope="module")
def fit(small_config):
    return remembered(lambda frame: recgan.train(frame, config=small_config))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_the_contract_of_every_recommender(check, fit):
    check(fit)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_a_loaded_model_gives_bit_equal_lists(interactions, small_config, encoder, tmp_path):
    items = pd.DataFrame({"item_id": range(60), "title": "t", "categories": [f"g{i % 4}" for i in range(60)]})
    users = pd.DataFrame({"user_id": range(120), "age": range(120)})
    frame = interactions.assign(timestamp=range(len(interactions)))
    config = recgan.Config(**{**small_config.model_dump(), "encoder": encoder, "epochs": 2})
    model = recgan.train(frame, items, users=users, config=config)
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    for options in ({}, {"explore": 0.7}, {"on_unknown": "skip"}):
        pd.testing.assert_frame_equal(loaded.recommend_batch(n=15, **options), model.recommend_batch(n=15, **options))
    pd.testing.assert_frame_equal(loaded.item_vectors(), model.item_vectors())
    pd.testing.assert_frame_equal(loaded.user_vectors(), model.user_vectors())
    pd.testing.assert_frame_equal(loaded.item_table, model.item_table)
    assert loaded.info() == model.info()
    assert loaded.recommend(history=[], n=5)["item_id"].tolist() == model.recommend(history=[], n=5)["item_id"].tolist()


def test_saving_twice_gives_the_same_bytes(model, folder, tmp_path):
    model.save(tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    recgan.Recommender.load(folder).save(tmp_path / "third")
    assert (folder / "weights.safetensors").read_bytes() == (tmp_path / "third" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["weights.safetensors", "users.parquet", "items.parquet", "histories.parquet"])
def test_a_flipped_bit_in_any_file_is_found(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) * 2 // 3] ^= 4
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        recgan.Recommender.load(copy)


def resealed(folder, change) -> None:
    """Change the manifest and seal it again, as somebody with bad intentions would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    manifest["files"] = {name: artifact.file_hash(folder / name) for name in manifest["files"]}
    text = json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())


def rewritten(folder, change) -> None:
    arrays = artifact.load_arrays(folder / "weights.safetensors")
    change(arrays)
    artifact.save_arrays(folder / "weights.safetensors", arrays)
    resealed(folder, lambda manifest: None)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("popularity"),
        lambda a: a.update(popularity=a["popularity"][:-1]),
        lambda a: a.update(popularity=a["popularity"].astype(np.float64)),
        lambda a: a.update(popularity=a["popularity"] * np.nan),
        lambda a: a.update({"generator.vectors": a["generator.vectors"][:-1]}),
        lambda a: a.pop("generator.mean.weight"),
        lambda a: a.update({"sparse.indices": a["sparse.indices"] + 1000}),
        lambda a: a.pop("discriminator.center"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(copy, change):
    rewritten(copy, change)
    with pytest.raises(ArtifactError):
        recgan.Recommender.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("config"),
        lambda m: m["config"].update(surprise=1),
        lambda m: m["weights"].update(surprise=1),
        lambda m: m.update(encoder="eval"),
        lambda m: m.update(window="many"),
    ],
)
def test_manifests_that_do_not_fit_are_refused(copy, change):
    resealed(copy, change)
    with pytest.raises(ArtifactError):
        recgan.Recommender.load(copy)


def test_histories_outside_the_model_are_refused(copy):
    frame = pd.read_parquet(copy / "histories.parquet")
    frame.loc[0, "item"] = 10**6
    frame.to_parquet(copy / "histories.parquet", index=False)
    resealed(copy, lambda manifest: None)
    with pytest.raises(ArtifactError, match="numbers outside"):
        recgan.Recommender.load(copy)


def test_the_module_level_call(model, folder, monkeypatch):
    expected = model.recommend(3, 4)
    pd.testing.assert_frame_equal(recgan.recommend(3, 4, model=model), expected)
    pd.testing.assert_frame_equal(recgan.recommend(3, 4, model=folder), expected)
    pd.testing.assert_frame_equal(recgan.recommend(3, 4, model=str(folder), exclude=[]), expected)
    monkeypatch.delenv("RECGAN_MODEL", raising=False)
    with pytest.raises(ConfigError, match="RECGAN_MODEL"):
        recgan.recommend(3)
    monkeypatch.setenv("RECGAN_MODEL", str(folder))
    pd.testing.assert_frame_equal(recgan.recommend(3, 4), expected)
    monkeypatch.setenv("RECGAN_MODEL", str(folder) + "-none")
    with pytest.raises(ArtifactError, match="no such model folder"):
        recgan.recommend(3)


@pytest.fixture(scope="module")
def attributed(interactions, small_config):
    """Items of four groups; the group is the category, and the year goes by it."""
    items = pd.DataFrame({"item_id": range(60), "title": [f"Title {i}" for i in range(60)]})
    items["categories"] = [f"group {i % 4}" for i in range(60)]
    items["year"] = [1950.0 + 10.0 * (i % 4) for i in range(60)]
    items["price"] = np.random.default_rng(0).permutation(60)
    return recgan.train(interactions, items, config=small_config)


def test_ideal_items_are_of_the_users_own_kind(attributed):
    lists = pd.concat([attributed.ideal_items(user, 3) for user in range(40)], ignore_index=True)
    assert lists.columns.tolist() == ["user_id", "rank", "categories", "year", "nearest_item_id", "gap"]
    assert lists["rank"].tolist() == [1, 2, 3] * 40
    assert (lists["categories"].str.split("|").str[0] == "group " + (lists["user_id"] % 4).astype(str)).mean() > 0.95
    assert (lists["nearest_item_id"] % 4 == lists["user_id"] % 4).mean() > 0.95
    assert (lists["year"] - 1950.0 - 10.0 * (lists["user_id"] % 4)).abs().mean() < 5.0
    assert lists["gap"].between(0.0, 2.0).all()
    told = lists.attrs["accuracy"]
    assert (told["categories"]["used"], told["price"]["used"]) == (True, False)
    assert json.loads(json.dumps(told)) == told


def test_ideal_items_are_nearest_by_brute_force_to_what_is_on_offer(attributed):
    everything = attributed.ideal_items(3, 8)
    some = attributed.ideal_items(3, 8, items=range(0, 60, 4))
    assert (some["nearest_item_id"] % 4 == 0).all()
    assert (some["gap"] > everything["gap"]).all()
    pd.testing.assert_frame_equal(some.drop(columns=["nearest_item_id", "gap"]), everything[some.columns[:-2]])
    vectors = attributed.item_vectors()
    blocks = attributed._blocks
    draws = wanted_vectors(blocks, attributed._histories.take(np.array([3])), 64, attributed._config.seed)[0]
    draws = draws[unlike(draws, 8)]
    cosines = draws @ vectors.to_numpy().T
    assert vectors.index[cosines.argmax(axis=1)].tolist() == everything["nearest_item_id"].tolist()
    np.testing.assert_allclose(everything["gap"], 1.0 - cosines.max(axis=1), atol=1e-5)


def test_the_first_ideal_item_is_the_most_typical_draw_however_many_are_asked_for(attributed):
    pd.testing.assert_frame_equal(attributed.ideal_items(3, 1), attributed.ideal_items(3, 8).iloc[:1])


def test_more_ideal_items_than_the_noise_bank_holds(attributed):
    assert len(attributed._blocks.noise) == 4
    many = attributed.ideal_items(5, 11)
    assert many["rank"].tolist() == list(range(1, 12))
    pd.testing.assert_frame_equal(many, attributed.ideal_items(5, 11))


def test_ideal_items_with_bad_input(attributed, model):
    empty, full = attributed.ideal_items(0, 0), attributed.ideal_items(0, 1)
    assert empty.empty
    assert empty.dtypes.equals(full.dtypes)
    bare = model.ideal_items(0)
    assert bare.columns.tolist() == ["user_id", "rank", "categories", "nearest_item_id", "gap"]
    assert (bare["categories"].tolist(), bare.attrs["accuracy"]) == (["", "", ""], {})
    with pytest.raises(UnknownUserError, match="999"):
        attributed.ideal_items(999)
    with pytest.raises(ConfigError, match="n: a whole number"):
        attributed.ideal_items(0, -1)
    for items in ([], [999]):
        with pytest.raises(DataError, match="nothing is on offer"):
            attributed.ideal_items(0, items=items)
    with pytest.raises(DataError, match="ids such as"):
        attributed.ideal_items(0, items=["a"])


def test_ideal_items_of_a_user_with_one_item(interactions, small_config):
    one = pd.concat([interactions, pd.DataFrame({"user_id": [500], "item_id": [7]})], ignore_index=True)
    found = recgan.train(one, config=small_config.changed(epochs=2)).ideal_items(500)
    assert len(found) == 3
    assert np.isfinite(found["gap"]).all()


@pytest.mark.parametrize("read", ["read_manifest", "load_arrays", "load_table", "file_hash"])
@pytest.mark.parametrize("often", [1, 99])
def test_a_model_that_is_replaced_while_it_is_read_is_the_old_or_the_new_one(model, tmp_path, monkeypatch, read, often):
    newer = recgan.update(model, pd.DataFrame({"user_id": [0], "item_id": [59]}))
    model.save(tmp_path / "kept")
    real, done, models = getattr(artifact, read), [], [newer, model]

    def replaced(*arguments):
        if len(done) < often:
            done.append(read)
            with monkeypatch.context() as patch:
                patch.setattr(artifact, read, real)
                models[len(done) % 2 - 1].save(tmp_path / "kept")
        return real(*arguments)

    monkeypatch.setattr(artifact, read, replaced)
    if often > 1:
        with pytest.raises(recgan.ArtifactError, match="was replaced 5 times while it was read"):
            recgan.Recommender.load(tmp_path / "kept")
        return
    found = recgan.Recommender.load(tmp_path / "kept")
    assert done
    pd.testing.assert_frame_equal(found.recommend_batch(n=5), newer.recommend_batch(n=5))
    assert found.info().get("updates") == newer.info().get("updates")


def test_ideal_items_survive_save_and_load(attributed, tmp_path):
    attributed.save(tmp_path / "model")
    pd.testing.assert_frame_equal(
        recgan.Recommender.load(tmp_path / "model").ideal_items(9), attributed.ideal_items(9), check_exact=False
    )


def test_a_removed_user_leaves_no_trace_in_the_artifact(interactions, small_config, tmp_path):
    """Users with telling names, one with an item of her own; every file is searched for what told of them."""
    gone = ["Ottilie-Wildermuth", "Zephyrine-Öl"]
    frame = interactions.assign(
        user_id="user " + interactions["user_id"].astype(str), timestamp=range(len(interactions))
    )
    frame["user_id"] = frame["user_id"].replace({"user 3": gone[0], "user 119": gone[1]})
    frame.loc[frame["user_id"] == gone[0], "timestamp"] = 1_234_567_891
    users = pd.DataFrame({"user_id": frame["user_id"].unique(), "age": range(120), "town": "Ulm"})
    whole = recgan.train(frame, users=users, config=small_config)
    before, lists = whole.info(), whole.recommend_batch(n=10)
    left = whole.remove_users(gone)
    left.save(tmp_path / "model")
    for path in (tmp_path / "model").iterdir():
        assert not any(name.encode() in path.read_bytes() for name in gone), path.name
    loaded = recgan.Recommender.load(tmp_path / "model")
    assert len(loaded.users) == 118
    assert not set(gone) & set(loaded.users)
    kept = frame[~frame["user_id"].isin(gone)]
    histories = pd.read_parquet(tmp_path / "model" / "histories.parquet")
    assert len(histories) == len(kept)
    assert 1_234_567_891 not in set(histories["time"])
    assert len(artifact.load_arrays(tmp_path / "model" / "weights.safetensors")["profiles"]) == 118
    assert loaded.info()["removed_users"] == 2
    assert loaded.info()["data"]["sha256"] != before["data"]["sha256"]
    assert loaded.info()["data"]["interactions"] == len(kept)
    assert "pictures" not in loaded.info()["game"]
    others = lists[~lists["user_id"].isin(gone)].reset_index(drop=True)
    pd.testing.assert_frame_equal(loaded.recommend_batch(n=10), others)
    assert loaded.recommend(gone[0]).attrs["fallback_users"] == [gone[0]]
    for ask in (loaded.uncertainty, loaded.user_vectors):
        with pytest.raises(UnknownUserError):
            ask(gone)
    assert (len(whole.users), whole.info()) == (120, before)  # the old one is untouched
    assert left.remove_users(["user 5"]).info()["removed_users"] == 3


def test_removing_users_with_bad_input(model):
    with pytest.raises(UnknownUserError, match="999"):
        model.remove_users([0, 999])
    with pytest.raises(DataError, match="more than once"):
        model.remove_users([0, 0])
    with pytest.raises(DataError, match="list of ids"):
        model.remove_users(0)
    assert len(model.remove_users([]).users) == 120


def test_a_model_without_users_serves_histories(model, tmp_path):
    model.remove_users(model.users).save(tmp_path / "empty")
    empty = recgan.Recommender.load(tmp_path / "empty")
    assert empty.recommend_batch().empty
    assert empty.uncertainty().empty
    assert empty.user_vectors().shape == (0, 16)
    assert len(empty.recommend(history=[0, 4], n=5)) == 5
    assert len(empty.recommend(3, n=5)) == 5


def test_what_is_drawn_hangs_on_the_model_and_not_on_the_call(model, folder):
    """Nor on torch's or NumPy's own state, nor on what was asked before."""
    expected = model.uncertainty(), model.moods(3, n=4, moods=3), model.ideal_items(3), model.recommend(3, explore=0.8)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    loaded = recgan.Recommender.load(folder)
    loaded.moods(5)
    found = loaded.uncertainty(), loaded.moods(3, n=4, moods=3), loaded.ideal_items(3), loaded.recommend(3, explore=0.8)
    for one, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    some = expected[0].iloc[[7, 2]].reset_index(drop=True)
    pd.testing.assert_frame_equal(model.uncertainty([7, 2]), some, atol=1e-6)  # one minus cosines near 1, in float32


def test_many_threads_read_one_fresh_model(model, tmp_path):
    """Everything that is built when first needed is needed by all threads at once."""
    model.save(tmp_path / "model")
    users, items = model.users.tolist()[:12], model.items.tolist()[:12]

    def asked(place):
        user, item = users[place % 12], items[place % 12]
        calls = (
            lambda: fresh.recommend(user, n=5),
            lambda: fresh.recommend_batch(users, n=5, explore=0.5),
            lambda: fresh.moods(user, n=3, moods=2),
            lambda: fresh.similar_items(item, n=5),
            lambda: fresh.similar_users(user, n=5),
        )
        return calls[place % 5]()

    fresh = model
    wanted = [asked(place) for place in range(60)]
    for _ in range(2):
        fresh = recgan.Recommender.load(tmp_path / "model")
        with ThreadPoolExecutor(12) as callers:
            found = list(callers.map(asked, range(60)))
        for one, other in zip(found, wanted, strict=True):
            pd.testing.assert_frame_equal(one, other, rtol=1e-5)


def test_a_score_that_is_no_number_makes_no_list(model, monkeypatch):
    def broken(query, numbers, n):
        scores = np.ones((len(numbers), 2))
        scores[1, 1] = np.nan
        return np.array([[4, 5]] * len(numbers)), scores

    monkeypatch.setattr(model, "_rank", broken)
    with pytest.raises(recgan.RecganError, match="the score of item 5 for user 7 is nan: no list is made of that"):
        model.recommend_batch([3, 7], 2)


@pytest.mark.parametrize("wrong", [["a"], {"a": 1}, {"a"}])
def test_ids_that_can_be_none_are_unknown(interactions, small_config, wrong):
    named = interactions.assign(
        user_id=interactions["user_id"].astype(str), item_id=interactions["item_id"].astype(str)
    )
    some = recgan.train(named, config=small_config.changed(epochs=1, game_steps=0))
    for asked in (lambda: some.score(wrong, ["1"]), lambda: some.moods(wrong), lambda: some.similar_users(wrong)):
        with pytest.raises(UnknownUserError):
            asked()
    for asked in (lambda: some.similar_items(wrong), lambda: some.explain("1", wrong)):
        with pytest.raises(UnknownItemError):
            asked()
