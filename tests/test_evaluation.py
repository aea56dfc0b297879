from __future__ import annotations

import dataclasses
import time
import warnings
from math import log, log2
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from recgan.bias import popularity_bias
from recgan.errors import ConfigError, DataError
from recgan.evaluation import Comparison, compare, evaluate

RANKING = ("hit", "map", "mrr", "ndcg", "precision", "recall", "recall_capped")


def ranked(lists: dict, column: str = "rank") -> pd.DataFrame:
    """A table of recommendations from user to items, best first."""
    rows = [
        (user, item, place if column == "rank" else 1 / place)
        for user, items in lists.items()
        for place, item in enumerate(items, start=1)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", column])


def pairs(items_of: dict) -> pd.DataFrame:
    rows = [(user, item) for user, items in items_of.items() for item in items]
    return pd.DataFrame(rows, columns=["user_id", "item_id"])


RECS = ranked({1: ["a", "b", "c"], 2: ["b", "a"], 9: ["a", "z"]})
TRUTH = pairs({1: ["a", "c", "x"], 2: ["a"], 3: ["a"]})
ITEMS = pd.DataFrame({"item_id": list("abcdx"), "categories": ["Drama", "Crime|Drama", "Crime", None, ""]})


def random_case(n_users: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    items = np.array([f"i{number}" for number in range(40)])
    lists = {f"u{user}": rng.permutation(items)[: rng.integers(0, 31)] for user in range(n_users)}
    relevant = {f"u{user}": rng.permutation(items)[: rng.integers(1, 21)] for user in range(n_users)}
    return ranked(lists), pairs(relevant)


# ---------------------------------------------------------------------------------------------------------------------
# Ranking metrics


def test_users_of_the_truth_count_and_no_others() -> None:
    found = evaluate(RECS, TRUTH, ["hit@1", "map@3", "ndcg@2", "recall@3", "precision@3", "mrr@5", "recall_capped@1"])
    assert found == pytest.approx(
        {
            "hit@1": 1 / 3 * (1 + 0 + 0),
            "map@3": 1 / 3 * (1 / 3 * (1 / 1 + 2 / 3) + 1 / 2 + 0),
            "ndcg@2": 1 / 3 * (1 / (1 + 1 / log2(3)) + 1 / log2(3) + 0),
            "recall@3": 1 / 3 * (2 / 3 + 1 / 1 + 0),
            "precision@3": 1 / 3 * (2 / 3 + 1 / 3 + 0),
            "mrr@5": 1 / 3 * (1 / 1 + 1 / 2 + 0),
            "recall_capped@1": 1 / 3 * (1 / 1 + 0 + 0),
        },
        rel=1e-15,
    )
    assert all(type(value) is float for value in found.values())


def test_defaults_and_a_single_metric() -> None:
    assert list(evaluate(RECS, TRUTH)) == ["ndcg@10", "recall@20"]
    assert list(evaluate(RECS, TRUTH, "hit@3")) == ["hit@3"]
    assert list(evaluate(RECS, TRUTH, (name for name in ("hit@3", "mrr@1", "hit@3")))) == ["hit@3", "mrr@1"]


def test_per_user_and_its_mean() -> None:
    metrics = [f"{name}@2" for name in RANKING]
    frame = evaluate(RECS, TRUTH, metrics, per_user=True)
    assert frame.columns.tolist() == ["user_id", *metrics]
    assert frame["user_id"].tolist() == [1, 2, 3]
    assert frame["mrr@2"].tolist() == [1, 1 / 2, 0]
    assert frame[metrics].mean().to_dict() == pytest.approx(evaluate(RECS, TRUTH, metrics), rel=1e-15)


def test_equal_to_ir_measures_on_a_thousand_users() -> None:
    recs, truth = random_case(1000)
    oracle = {}
    for k in (1, 5, 10, 20):
        oracle |= {f"ndcg@{k}": nDCG @ k, f"precision@{k}": P @ k, f"recall@{k}": R @ k, f"map@{k}": AP @ k}
        oracle |= {f"mrr@{k}": RR @ k, f"hit@{k}": Success @ k}
    found = evaluate(recs.sample(frac=1, random_state=1), truth.sample(frac=1, random_state=2), oracle, per_user=True)
    found = found.set_index("user_id")
    qrels = truth.rename(columns={"user_id": "query_id", "item_id": "doc_id"}).assign(relevance=1)
    run = recs.rename(columns={"user_id": "query_id", "item_id": "doc_id"}).assign(score=100.0 - recs["rank"])
    name_of = {measure: name for name, measure in oracle.items()}
    checked = 0
    for value in ir_measures.iter_calc(list(oracle.values()), qrels, run.drop(columns="rank")):
        assert found.at[value.query_id, name_of[value.measure]] == pytest.approx(value.value, abs=1e-9)
        checked += 1
    assert checked >= 900 * len(oracle)


def test_order_of_rows_does_not_matter_to_the_last_bit() -> None:
    recs, truth = random_case(50)
    metrics = [f"{name}@7" for name in (*RANKING, "effective_items", "personalisation", "novelty")]
    wanted = evaluate(recs, truth, metrics, train=truth)
    for seed in range(3):
        shuffled = [table.sample(frac=1, random_state=seed) for table in (recs, truth)]
        assert evaluate(*shuffled, metrics, train=shuffled[1]) == wanted


def test_rank_only_orders_and_wins_over_score() -> None:
    recs = RECS.assign(rank=RECS["rank"] * 10 - 3, score=RECS["rank"])
    assert evaluate(recs, TRUTH) == evaluate(RECS, TRUTH)
    assert evaluate(recs.assign(rank=recs["rank"].astype(str)), TRUTH) == evaluate(RECS, TRUTH)


def test_score_orders_where_there_is_no_rank_and_ties_keep_the_order_of_rows() -> None:
    lists = {1: ["a", "b", "c"], 2: ["b", "a"]}
    by_score = ranked(lists, "score").sample(frac=1, random_state=0)
    assert evaluate(by_score, TRUTH, "map@5") == evaluate(ranked(lists), TRUTH, "map@5")
    tied = pairs(lists).assign(score=0.5)
    assert evaluate(tied, TRUTH, "map@5") == evaluate(ranked(lists), TRUTH, "map@5")


def test_arguments_are_not_written_to() -> None:
    tables = [RECS.copy(), TRUTH.copy(), ITEMS.copy()]
    evaluate(tables[0], tables[1], ["ndcg@2", "calibration@2"], items=tables[2], history=tables[1])
    for table, before in zip(tables, (RECS, TRUTH, ITEMS), strict=True):
        pd.testing.assert_frame_equal(table, before)


def test_an_empty_frame_of_recommendations_scores_zero() -> None:
    for nothing in (RECS.iloc[:0], pd.DataFrame(columns=["user_id", "item_id", "rank"])):
        assert evaluate(nothing, TRUTH, [f"{name}@3" for name in RANKING]) == {f"{name}@3": 0 for name in RANKING}
        whole = evaluate(nothing, TRUTH, ["coverage@3", "effective_items@3"], items=ITEMS)
        assert whole == {"coverage@3": 0, "effective_items@3": 0}
        tables = {"train": TRUTH, "items": ITEMS, "history": TRUTH}
        names = ["calibration@3", "diversity@3", "long_tail@3", "novelty@3", "personalisation@3"]
        assert np.isnan(list(evaluate(nothing, TRUTH, names, **tables).values())).all()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_may_be_files(tmp_path: Path, suffix: str) -> None:
    paths = {}
    for name, table in {"recs": RECS, "truth": TRUTH, "items": ITEMS}.items():
        paths[name] = tmp_path / f"{name}.{suffix}"
        table.to_csv(paths[name], index=False) if suffix == "csv" else table.to_parquet(paths[name])
    metrics = ["ndcg@3", "coverage@3", "diversity@2"]
    from_files = evaluate(paths["recs"], str(paths["truth"]), metrics, items=paths["items"])
    assert from_files == evaluate(RECS, TRUTH, metrics, items=ITEMS)


# ---------------------------------------------------------------------------------------------------------------------
# Ids


@pytest.mark.parametrize(
    "dtypes",
    [("int32", "int64"), ("Int64", "int64"), ("uint64", "int64"), ("object", "int32"), ("category", "int64")],
)
def test_integers_of_every_width_are_the_same_ids(dtypes: tuple[str, str]) -> None:
    recs, truth = (table.astype({"user_id": dtype}) for table, dtype in zip((RECS, TRUTH), dtypes, strict=True))
    frame = evaluate(recs, truth, "hit@3", per_user=True)
    assert frame["hit@3"].tolist() == [1, 1, 0]
    assert frame["user_id"].dtype == dtypes[1]


def test_large_unsigned_ids_keep_every_bit() -> None:
    ids = [2**63 + 1, 2**63 + 2]
    recs = pd.DataFrame({"user_id": [1, 1], "item_id": np.array(ids, np.uint64), "rank": [1, 2]})
    truth = pd.DataFrame({"user_id": [1], "item_id": np.array(ids[1:], np.uint64)})
    assert evaluate(recs, truth, "mrr@2") == {"mrr@2": 1 / 2}
    assert evaluate(recs, pd.DataFrame({"user_id": [1], "item_id": [7]}), "mrr@2") == {"mrr@2": 0}


@pytest.mark.parametrize("dtypes", [("object", "string"), ("string", "object"), ("category", "object")])
def test_text_of_every_dtype_is_the_same_ids(dtypes: tuple[str, str]) -> None:
    recs, truth = (table.astype({"item_id": dtype}) for table, dtype in zip((RECS, TRUTH), dtypes, strict=True))
    assert evaluate(recs, truth) == evaluate(RECS, TRUTH)


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_ids_of_different_types_are_refused_in_every_table(column: str) -> None:
    recs = RECS.assign(item_id=RECS["item_id"].map(ord))
    truth = TRUTH.assign(item_id=TRUTH["item_id"].map(ord))
    with pytest.raises(DataError, match=f"recommendations: column '{column}' holds text, .* truth holds integers"):
        evaluate(recs.astype({column: str}), truth)
    with pytest.raises(DataError, match=f"train: column '{column}' holds text"):
        evaluate(recs, truth, "novelty@3", train=truth.astype({column: str}))
    with pytest.raises(DataError, match="recs_b: column"):
        compare(recs, recs.astype({column: str}), truth)
    with pytest.raises(DataError, match="items: column 'item_id' holds text"):
        evaluate(recs, truth, "coverage@3", items=ITEMS)


# ---------------------------------------------------------------------------------------------------------------------
# List metrics


def perplexity(*counts: int) -> float:
    shares = np.array(counts) / sum(counts)
    return float(np.prod(shares**-shares))


TRAIN = pairs({1: ["a", "b"], 2: ["a", "d"], 3: ["a"], 4: ["a", "a"]})  # a: 4 of 4 users, b and d: 1 of 4
HISTORY = pairs({1: ["c", "c"], 2: ["a", "b"], 9: ["x"], 77: ["a"]})


def test_list_metrics_look_at_all_lists() -> None:
    names = ["calibration", "coverage", "diversity", "effective_items", "long_tail", "novelty", "personalisation"]
    tables = {"train": TRAIN, "items": ITEMS, "history": HISTORY}
    found = evaluate(RECS, TRUTH, [f"{name}@2" for name in names], **tables)
    crime_for_drama = log(1 / (0.99 * 1 / 4 + 0.01 * 1))  # user 1: Crime before, 1/4 of it now; user 2: no change
    assert found == pytest.approx(
        {
            "calibration@2": 1 / 2 * (crime_for_drama + 0),  # nothing known of user 9's history
            "coverage@2": 2 / 5,  # a and b of a, b, c, d, x; z is not in the catalogue
            "diversity@2": 1 - 1 / 2**0.5,  # for users 1 and 2; the z of user 9 has no category
            "effective_items@2": perplexity(3, 2, 1),
            "long_tail@2": 1 / 3 * (0 + 0 + 1 / 2),  # only z: b is as popular as d, which the head needs
            "novelty@2": 1 / 3 * ((0 + 2) / 2 + (2 + 0) / 2 + (0 + 2) / 2),  # bits: a 0, b 2, z 2
            "personalisation@2": 1 - 1 / 3 * (2 / 2 + 1 / 2 + 1 / 2),
        },
        rel=1e-12,
    )


def test_list_metrics_per_user_add_the_users_without_truth() -> None:
    frame = evaluate(RECS, TRUTH, ["hit@2", "novelty@2", "diversity@2"], per_user=True, train=TRAIN, items=ITEMS)
    assert frame["user_id"].tolist() == [1, 2, 3, 9]
    np.testing.assert_array_equal(frame["hit@2"], [1, 1, 0, np.nan])
    np.testing.assert_array_equal(frame["novelty@2"], [1, 1, np.nan, 1])
    np.testing.assert_allclose(frame["diversity@2"], [1 - 1 / 2**0.5, 1 - 1 / 2**0.5, np.nan, np.nan])
    means = evaluate(RECS, TRUTH, ["hit@2", "novelty@2", "diversity@2"], train=TRAIN, items=ITEMS)
    assert frame.drop(columns="user_id").mean().to_dict() == pytest.approx(means, rel=1e-12)


def test_dislikes_are_no_choices() -> None:
    train = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": [1, 2, 1, 3, 1, 3], "weight": [1, 1, 1, -1, 1, -1]})
    recs, metrics = ranked({1: [1], 2: [1], 3: [2]}), ["novelty@1", "coverage@1", "long_tail@1"]
    liked = train[train["weight"] > 0]
    assert evaluate(recs, liked, metrics, train=train) == evaluate(recs, liked, metrics, train=liked)
    told, bias = (popularity_bias(recs, some, k=1) for some in (train, liked))
    pd.testing.assert_frame_equal(told, bias)
    truth = train.rename(columns={"weight": "Weight"})
    assert evaluate(recs, truth, "recall@3") == evaluate(recs, liked, "recall@3")


def test_coverage_falls_back_to_the_items_of_train() -> None:
    assert evaluate(RECS, TRUTH, "coverage@2", train=TRAIN) == {"coverage@2": 2 / 3}
    assert evaluate(RECS, TRUTH, "coverage@2", train=TRAIN, items=ITEMS) == {"coverage@2": 2 / 5}


def test_a_category_given_twice_or_with_blanks_counts_once() -> None:
    neat, untidy = ("Crime|Drama", "Crime | Drama|Drama|")
    tables = [pd.DataFrame({"item_id": ["a", "b"], "categories": ["Drama", both]}) for both in (neat, untidy)]
    one, two = (evaluate(RECS, TRUTH, "diversity@2", items=table) for table in tables)
    assert one == two


def test_other_columns_of_the_tables_are_ignored() -> None:
    items = ITEMS.assign(user_id="someone", rank=0)
    recs, truth = RECS.assign(mood=[None] * len(RECS), score=np.nan), TRUTH.assign(rating=np.nan, rank=1)
    assert evaluate(recs, truth, "diversity@2", items=items) == evaluate(RECS, TRUTH, "diversity@2", items=ITEMS)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


@pytest.mark.parametrize(
    "metric", ["ndcg", "ndcg@0", "ndcg@-1", "ndcg@010", "ndcg@1.5", "foo@10", "NDCG@10", "", "@5", 10]
)
def test_unknown_metrics_are_refused_with_the_known_names(metric: object) -> None:
    with pytest.raises(ConfigError, match=r"name@k.*calibration, coverage, .*, recall, recall_capped"):
        evaluate(RECS, TRUTH, ["ndcg@10", metric])


def test_no_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="none given"):
        evaluate(RECS, TRUTH, [])


@pytest.mark.parametrize(
    ("metric", "given", "message"),
    [
        ("novelty@5", {}, "novelty@5 needs train="),
        ("long_tail@5", {"items": ITEMS}, "long_tail@5 needs train="),
        ("diversity@5", {"train": TRAIN}, "diversity@5 needs items="),
        ("calibration@5", {}, "calibration@5 needs items= and history="),
        ("calibration@5", {"items": ITEMS}, "calibration@5 needs history="),
        ("coverage@5", {"history": TRAIN}, "coverage@5 needs train= or items="),
    ],
)
def test_missing_tables_are_named(metric: str, given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        evaluate(RECS, TRUTH, ["ndcg@5", metric], **given)


def test_items_without_categories() -> None:
    bare = ITEMS[["item_id"]]
    assert evaluate(RECS, TRUTH, "coverage@2", items=bare) == {"coverage@2": 2 / 5}
    with pytest.raises(DataError, match="items: column 'categories' missing"):
        evaluate(RECS, TRUTH, "diversity@2", items=bare)
    assert np.isnan(evaluate(RECS, TRUTH, "diversity@2", items=ITEMS.assign(categories=None))["diversity@2"])


@pytest.mark.parametrize("metric", ["coverage@5", "effective_items@5", "personalisation@5"])
def test_metrics_of_all_lists_have_no_value_per_user(metric: str) -> None:
    with pytest.raises(ConfigError, match=f"per_user: {metric} describes all lists"):
        evaluate(RECS, TRUTH, ["ndcg@5", metric], per_user=True, items=ITEMS)


def twice(table: pd.DataFrame, row: int) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[row]]])


@pytest.mark.parametrize(
    ("recs", "truth", "message"),
    [
        (twice(RECS, 1).assign(rank=range(8)), TRUTH, r"recommendations: 1 repeated \(user, item\) pairs.*\(row 7\)"),
        (RECS, twice(TRUTH, 0), r"truth: 1 repeated \(user, item\) pairs.*\(row 5\)"),
        (RECS.assign(rank=[1, 2, 2, 1, 2, 1, 1]), TRUTH, r"1 rows whose rank another row .* has too \(row 2\)"),
        (RECS.drop(columns="rank"), TRUTH, "recommendations: columns 'rank' and 'score' are both missing"),
        (RECS.drop(columns="user_id"), TRUTH, "recommendations: column 'user_id' missing"),
        (RECS, TRUTH.drop(columns="item_id"), "truth: column 'item_id' missing"),
        (RECS, TRUTH.iloc[:0], "truth: the table has no rows"),
        (RECS.assign(rank=np.nan), TRUTH, "recommendations: column 'rank' has missing values"),
        (RECS.assign(rank="first"), TRUTH, "recommendations: column 'rank' holds text such as 'first'"),
        (RECS.drop(columns="rank").assign(score=np.inf), TRUTH, "recommendations: column 'score' has infinite"),
        (RECS.assign(user_id=RECS["user_id"] + 0.5), TRUTH, "recommendations: column 'user_id' holds float"),
        (RECS, TRUTH.assign(item_id=None), "truth: column 'item_id' has 5 null id"),
    ],
)
def test_unusable_tables_are_refused(recs: pd.DataFrame, truth: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(recs, truth)


def test_repeated_items_are_refused() -> None:
    with pytest.raises(DataError, match="item_id"):
        evaluate(RECS, TRUTH, "coverage@2", items=twice(ITEMS, 0))


# ---------------------------------------------------------------------------------------------------------------------
# Comparing


def test_comparison_of_lists_that_differ() -> None:
    truth = pairs({user: ["a"] for user in range(40)})
    good = ranked({user: ["a", "b"] if user % 4 else ["b", "a"] for user in range(40)})
    bad = ranked({user: ["b", "a"] for user in range(40)})
    found = compare(good, bad, truth, "mrr@2")
    assert (found.metric, found.n_users) == ("mrr@2", 40)
    assert found.difference == pytest.approx(30 / 40 * (1 - 1 / 2))
    assert 0.25 < found.low < found.difference < found.high < 0.5
    assert found.p_value == pytest.approx(2 / 10000)
    assert found == compare(good, bad, truth, "mrr@2")
    back = compare(bad, good, truth, "mrr@2")
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-found.difference, -found.high, -found.low), abs=0.02
    )


def test_users_are_paired_whatever_the_order_of_the_rows() -> None:
    recs, truth = random_case(60)
    rivals = (
        ranked({user: list("ab") for user in truth["user_id"].unique()})
        .assign(item_id="i1")
        .drop_duplicates(["user_id"])
    )
    found = compare(recs, rivals, truth)
    shuffled = [table.sample(frac=1, random_state=3) for table in (recs, rivals, truth)]
    assert compare(*shuffled) == found
    a, b = (evaluate(table, truth, "ndcg@10", per_user=True)["ndcg@10"] for table in (recs, rivals))
    assert found.difference == pytest.approx((a - b).mean(), rel=1e-12)


def test_degenerate_comparisons_give_plain_numbers() -> None:
    one = TRUTH[TRUTH["user_id"] == 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compare(RECS, RECS, TRUTH) == Comparison("ndcg@10", 0, 0, 0, 1, 3)
        assert compare(RECS, RECS.iloc[:0], one, "mrr@1") == Comparison("mrr@1", 1, 1, 1, 1, 1)
        nobody = RECS[RECS["user_id"] == 9]
        assert compare(nobody, nobody, TRUTH) == Comparison("ndcg@10", 0, 0, 0, 1, 3)
        everyone = ranked({user: ["a"] for user in range(9)})
        constant = compare(everyone, nobody, everyone[["user_id", "item_id"]], "hit@1")
        assert constant == Comparison("hit@1", 1, 1, 1, 2 / 2**9, 9)


def test_equally_random_lists_are_seldom_called_different() -> None:
    recs, truth = random_case(100, seed=1)
    p_values = [compare(recs, random_case(100, seed)[0], truth, n_resamples=199).p_value for seed in range(10, 50)]
    assert 0.2 < np.mean(p_values) < 0.8
    assert np.mean(np.array(p_values) < 0.05) <= 0.2


def test_a_thousand_users_take_less_than_three_seconds() -> None:
    recs, truth = random_case(1000)
    rivals, _ = random_case(1000, seed=1)
    start = time.process_time()
    compare(recs, rivals, truth)
    assert time.process_time() - start < 3


def test_a_comparison_reads_as_one_line_and_is_frozen() -> None:
    found = Comparison("recall@20", -0.5, -0.75, -0.25, 1.0, 1)
    assert str(found) == "recall@20: a - b = -0.5000 (95 % interval -0.7500 to -0.2500, p = 1.0000, 1 user)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.difference = 0.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"metric": "novelty@5"},
        {"metric": "ndcg"},
        {"n_resamples": 0},
        {"n_resamples": "a"},
        {"n_resamples": 10.5},
        {"seed": -1},
        {"seed": None},
    ],
)
def test_comparison_arguments_out_of_range(arguments: dict) -> None:
    with pytest.raises(ConfigError):
        compare(RECS, RECS, TRUTH, **arguments)


# ---------------------------------------------------------------------------------------------------------------------
# What holds of any tables

some_users = st.dictionaries(
    st.integers(0, 5), st.lists(st.integers(0, 9), unique=True, min_size=1, max_size=8), min_size=1
)
SOME = [f"{name}@{k}" for name in RANKING for k in (1, 4)]


@settings(max_examples=40, deadline=None)
@given(some_users, some_users, st.integers(0, 99))
def test_the_order_of_the_rows_changes_nothing(lists, relevant, seed):
    recs, truth = ranked(lists), pairs(relevant)
    mixed = [frame.sample(frac=1, random_state=seed) for frame in (recs, truth)]
    assert evaluate(*mixed, SOME) == pytest.approx(evaluate(recs, truth, SOME), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(some_users, some_users)
def test_ranks_and_falling_scores_say_the_same(lists, relevant):
    truth = pairs(relevant)
    assert evaluate(ranked(lists), truth, SOME) == evaluate(ranked(lists, "score"), truth, SOME)


@settings(max_examples=40, deadline=None)
@given(some_users, some_users)
def test_the_mean_is_that_of_the_users(lists, relevant):
    recs, truth = ranked(lists), pairs(relevant)
    each = evaluate(recs, truth, SOME, per_user=True)
    assert each.user_id.tolist() == sorted(relevant)
    assert each[SOME].mean().to_dict() == pytest.approx(evaluate(recs, truth, SOME), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(some_users, some_users, st.permutations(range(10)))
def test_other_names_for_users_and_items_change_nothing(lists, relevant, names):
    recs, truth = ranked(lists), pairs(relevant)
    named = [
        frame.assign(user_id="u" + (9 - frame.user_id).astype(str), item_id=[f"i{names[one]}" for one in frame.item_id])
        for frame in (recs, truth)
    ]
    assert evaluate(*named, SOME) == pytest.approx(evaluate(recs, truth, SOME), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(some_users, some_users)
def test_lists_of_users_without_truth_do_not_count(lists, relevant):
    recs, truth = ranked(lists), pairs(relevant)
    strangers = recs.assign(user_id=recs.user_id + 100)
    assert evaluate(pd.concat([recs, strangers]), truth, SOME) == evaluate(recs, truth, SOME)


@settings(max_examples=40, deadline=None)
@given(some_users, some_users)
def test_a_user_without_a_list_counts_as_zero(lists, relevant):
    recs, truth = ranked(lists), pairs(relevant)
    more = pd.concat([truth, truth.assign(user_id=truth.user_id + 100)])
    halved = {name: value / 2 for name, value in evaluate(recs, truth, SOME).items()}
    assert evaluate(recs, more, SOME) == pytest.approx(halved, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(some_users, some_users, some_users)
def test_b_against_a_is_a_against_b_turned_round(one, other, relevant):
    a, b, truth = ranked(one), ranked(other), pairs(relevant)
    first, second = (compare(*both, truth, "ndcg@4", n_resamples=199) for both in ((a, b), (b, a)))
    assert first.difference == pytest.approx(-second.difference, abs=1e-12)
    assert first.p_value == pytest.approx(second.p_value)
    assert first.low <= first.difference + 1e-12
    assert first.difference <= first.high + 1e-12
    assert first.n_users == len(relevant)


@pytest.mark.parametrize("metrics", [None, 5])
def test_metrics_that_are_no_names_are_refused(metrics):
    recs, truth = random_case(10, 0)
    with pytest.raises(ConfigError, match="metrics: names such as 'ndcg@10'"):
        evaluate(recs, truth, metrics)


def test_streams_that_can_be_read_once_are_enough():
    recs, truth = random_case(30, 0)

    def stream(frame):
        return pa.table(frame).to_reader()

    assert compare(recs, recs, stream(truth), "ndcg@4") == compare(recs, recs, truth, "ndcg@4")
    told = popularity_bias(stream(recs), stream(truth), history=stream(truth), k=4)
    pd.testing.assert_frame_equal(told, popularity_bias(recs, truth, history=truth, k=4))
