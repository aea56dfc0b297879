"""The report: one safe page that says what is true, for any model; and the map as a picture."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import planted

import recgan
from recgan.draws import wanted_vectors
from recgan.report import comparison_table, reading, save_map, words, write_gaps, write_report
from recgan.report.atlas import atlas
from recgan.report.comparing import read_comparison
from recgan.report.moods import _cloud, moods, uncertainty
from recgan.report.page import by_length, exposure
from recgan.report.reading import Catalogue
from recgan.report.templates import search_script
from recgan.report.theme import DARK, LIGHT, plain
from recgan.vocabulary import Vocabulary

SMALL = {
    "epochs": 2,
    "game_steps": 20,
    "embedding_dim": 16,
    "hidden_dim": 32,
    "noise_dim": 4,
    "n_draws": 4,
    "progress": False,
}
HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "</svg></figure><script>alert(2)</script>",
    "--> ]]> <!-- &amp; {{ 7 * 7 }}",
    "costs $x_1$ and $5",
    "line\nbreak\x00and \u202eturned",
    "日本語 العربية 😀",
    "_hidden",
]


def small(frame, items=None, **settings):
    return recgan.train(frame, items, config=recgan.Config(**{**SMALL, **settings}))


@pytest.fixture(scope="module")
def interactions():
    return planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=0, ordered=True)


@pytest.fixture(scope="module")
def items():
    table = pd.DataFrame({"item_id": range(40), "title": [f"Title {number}" for number in range(40)]})
    table["categories"] = [f"{'Odd' if number % 2 else 'Even'}|Group {number % 4}" for number in range(40)]
    table["year"] = [np.nan if number % 5 == 0 else 1990.0 + number for number in range(40)]
    table.loc[7, "title"] = None
    return table


@pytest.fixture(scope="module")
def model(interactions, items):
    return small(interactions, items)


def renamed(model, table, users=None, **told):
    """The same model with other names of users and items, or another account of its training."""
    users = model._users if users is None else Vocabulary(users, "user_id")
    items = Vocabulary(table["item_id"], "item_id")
    rest = (model._blocks, model._judge, model._config, {**model.info(), **told})
    return recgan.Recommender(users, items, model._histories, model._profiles, table, *rest)


@pytest.fixture(scope="module")
def hostile(model):
    numbers = model.items.tolist()
    table = pd.DataFrame({"item_id": numbers, "title": [HOSTILE[n % len(HOSTILE)] for n in numbers]})
    table["categories"] = [f"<b>{n % 3}</b>|\"'><script>{n % 2}</script>" for n in numbers]
    return renamed(model, table, pd.Series([f"<img src=x onerror=alert({user})>" for user in model.users]))


class Page(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.pieces).split())


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The page of the model as it is."""
    return Page(write_report(model, tmp_path_factory.mktemp("whole") / "r.html"))


@pytest.fixture(scope="module")
def of_two(model, tmp_path_factory):
    """The page of the model with two example users."""
    return Page(write_report(model, tmp_path_factory.mktemp("two") / "r.html", users=[3, 11]))


@pytest.fixture(scope="module")
def of_nobody(model, tmp_path_factory):
    """The page of the model without example users."""
    return Page(write_report(model, tmp_path_factory.mktemp("nobody") / "r.html", users=[]))


def assert_safe(page: Page) -> None:
    allowed = {"html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "nav", "a"}
    allowed |= {"h1", "h2", "h3", "h4", "p", "div", "span", "small", "strong", "b", "i", "ul", "ol", "li", "dl", "dt"}
    allowed |= {"dd", "figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td"}
    allowed |= {"details", "summary", "label", "input", "select", "option", "output", "code", "script"}
    allowed |= {"svg", "g", "path", "defs", "use", "text", "tspan", "rect", "clippath"}
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"], tag
        for name in attributes:
            if name.endswith("href"):
                assert (attributes[name] or "").startswith("#"), attributes[name]
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page.source, flags=re.DOTALL)
    assert scripts in ([], [search_script()[0]])
    assert [tag for tag, _ in page.tags].count("script") == len(scripts)
    policy = next(tag[1]["content"] for tag in page.tags if tag[1].get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(search_script()[0].encode()).digest()).decode()
    ending = f"; script-src 'sha256-{digest}'" if "#search" in page.source else ""
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:{ending}"
    assert "://" not in page.source
    assert "@import" not in page.source
    assert [url for url in re.findall(r"url\(([^)]*)", page.source) if not url.startswith("#")] == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert {target.removeprefix("#") for target in targets} <= set(ids)


def figures(page: Page) -> list[ElementTree.Element]:
    """Every figure, which is well-formed XML whatever the titles."""
    found = re.findall(r"<svg.*?</svg>", page.source, flags=re.DOTALL)
    return [ElementTree.fromstring(one.replace("<svg", '<svg xmlns:xlink="x"', 1)) for one in found]


def test_page_tells_the_model(model, tmp_path):
    path = write_report(model, tmp_path / "deep" / "report.html", title="A test & more")
    page = Page(path)
    assert path == tmp_path / "deep" / "report.html"
    assert_safe(page)
    assert len(figures(page)) == 15  # data 3, curves 2, realism 2, parts, exposure 2, map and moods twice, uncertainty
    info = model.info()
    for text in ("A test & more", "users 60", "items 40", f"interactions {info['data']['interactions']}"):
        assert text in page.words
    for value in info["ablation"].values():
        assert f"{value:.4f}" in page.words
    assert "it leaves the lists alone" in page.words
    assert "Comparison" not in page.words
    assert list(path.parent.iterdir()) == [path]


def test_a_model_that_knows_nobody_has_a_page_too(model, tmp_path):
    page = Page(write_report(model.remove_users(model.users), tmp_path / "r.html"))
    assert page


def test_page_shows_the_lists_that_the_model_serves(model, of_two):
    names = dict(zip(model.items, Catalogue.of(model).names, strict=True))
    for user in (3, 11):
        for explore in (0.0, 1.0):
            for item, score in model.recommend(user, 10, explore=explore)[["item_id", "score"]].to_numpy().tolist():
                assert names[int(item)] in of_two.text
                assert f"{score:.2f}" in of_two.text
    assert "User 3 " in of_two.words
    assert "user 11" in of_two.text


def test_names_are_titles_with_year_or_ids(model):
    names = dict(zip(model.items, Catalogue.of(model).names, strict=True))
    assert names[6] == "Title 6 (1996)"
    assert names[5] == "Title 5"
    assert names[7] == "7"


def test_hostile_titles_categories_and_users_stay_text(hostile, tmp_path):
    page = Page(write_report(hostile, tmp_path / "r.html", title=HOSTILE[0]))
    assert_safe(page)
    assert len(figures(page)) == 15
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[4], HOSTILE[5], HOSTILE[7], "line break and turned"):
        assert text in page.text
    assert "User <img src=x onerror=alert(" in page.text
    assert "49" not in re.findall(r"-->.*?\}\}", page.text)


def test_hostile_item_ids_stay_text(model, tmp_path):
    """No title stands for them, so they are shown themselves."""
    ids = [f"{HOSTILE[n % len(HOSTILE)]}{n}" for n in model.items.tolist()]
    page = Page(write_report(renamed(model, pd.DataFrame({"item_id": ids})), tmp_path / "r.html"))
    assert_safe(page)
    assert "<script>alert(1)</script>" in page.text


def test_no_path_of_this_machine_is_told(model, tmp_path):
    folders = {"log_dir": "/home/somebody/logs", "checkpoint_dir": "/home/somebody/kept"}
    told = {**model.info(), "config": {**model.info()["config"], **folders}}
    parts = (model._users, model._items, model._histories, model._profiles, model.item_table, model._blocks)
    somebody = recgan.Recommender(*parts, model._judge, model._config.changed(**folders), told)
    source = Page(write_report(somebody, tmp_path / "r.html")).source
    assert "/home/somebody" not in source
    assert str(tmp_path) not in source
    assert "/tmp/" not in source


def test_hostile_names_in_a_comparison_and_on_the_map(hostile, tmp_path):
    rows = [(HOSTILE[0], HOSTILE[3], 0.5, 0.4, 0.6), ("_x $1", HOSTILE[3], 0.4, 0.3, 0.5)]
    table = pd.DataFrame(rows, columns=["model", "metric", "mean", "low", "high"])
    page = Page(write_report(hostile, tmp_path / "r.html", comparison=table))
    assert_safe(page)
    assert len(figures(page)) == 16
    save_map(hostile, tmp_path / "map.png")


def test_item_table_without_anything_known(model, tmp_path):
    bare = renamed(model, pd.DataFrame({"item_id": [f"sku-{item}" for item in model.items]}))
    page = Page(write_report(bare, tmp_path / "r.html"))
    assert_safe(page)
    assert "sku-" in page.text
    assert "other" not in page.words.split("Map of the item vectors")[1].split("Lists of some users")[0].split()


def test_no_adversarial_loss_and_no_ranking_phase(interactions, tmp_path):
    page = Page(write_report(small(interactions, adversarial="none", epochs=0), tmp_path / "r.html"))
    assert_safe(page)
    assert len(figures(page)) == 14  # no curve of the validation metric
    assert "no adversarial loss, set likelihood only" in page.words


@pytest.mark.parametrize("epochs", [0, 2])
def test_no_game(model, tmp_path, epochs):
    ranking = model.info()["ranking"] if epochs else {"curve": [], "best_epoch": 0}
    game = {"curve": []}
    page = Page(write_report(renamed(model, model.item_table, ranking=ranking, game=game), tmp_path / "r.html"))
    assert_safe(page)
    assert len(figures(page)) == (13 if epochs else 11)
    assert ("No epoch was trained" in page.text) == (not epochs)
    assert "not played" in page.text


def test_realism_is_told_with_pictures(model, tmp_path, whole):
    page = whole
    game = model.info()["game"]
    assert "Generated against real slates" in page.words
    for text in (
        "before the game",
        f"epoch {game['pictures'][-1]['epoch']}",
        f"{game['curve'][-1]['energy_distance']:.4f}",
    ):
        assert text in page.words
    old = {name: value for name, value in game.items() if name not in ("start", "pictures")}
    page = Page(write_report(renamed(model, model.item_table, game=old), tmp_path / "old.html"))
    assert "Generated against real slates" not in page.words


def test_alarms_come_with_advice(model, tmp_path):
    told = {**model.info()["alarms"], "collapsed": ["discriminator wins", "of an older model"]}
    told["advice"] = {"discriminator wins": "the discriminator wins everything: do this"}
    page = Page(write_report(renamed(model, model.item_table, alarms=told), tmp_path / "r.html"))
    assert "discriminator wins: the discriminator wins everything: do this" in page.words
    assert "of an older model: see info()" in page.words


@pytest.mark.parametrize(
    "pairs",
    [
        [(1, item) for item in "abcde"],
        [(user, item) for user in range(6) for item in "ab"],
    ],
    ids=["one user", "two items, all seen"],
)
def test_tiny_data(pairs, tmp_path):
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    held_out = recgan.Holdout(frame.iloc[[0]], frame.iloc[[1]])
    tiny = recgan.train(frame, validation=held_out, config=recgan.Config(**SMALL))
    page = Page(write_report(tiny, tmp_path / "r.html"))
    assert_safe(page)
    assert figures(page)
    if len(tiny.items) < 3:
        assert "too small for a map" in page.text
        with pytest.raises(recgan.ConfigError, match="span a plane"):
            save_map(tiny, tmp_path / "map.png")


def test_no_user_at_all_is_shown_when_none_is_asked_for(model, of_nobody):
    assert_safe(of_nobody)
    assert "★" not in of_nobody.text


def test_users_must_be_known_and_different(model, tmp_path):
    with pytest.raises(recgan.UnknownUserError):
        write_report(model, tmp_path / "r.html", users=[3, 999])
    with pytest.raises(recgan.DataError, match="more than once"):
        write_report(model, tmp_path / "r.html", users=[3, 3])
    assert list(tmp_path.iterdir()) == []


def test_exposure_equals_the_evaluation(model, interactions, items):
    found = exposure(model, Catalogue.of(model))
    lists = model.recommend_batch(n=10)
    wanted = ["coverage@10", "effective_items@10", "long_tail@10", "personalisation@10"]
    told = recgan.evaluate(lists, interactions, wanted, train=interactions, items=items)
    assert found["n_shown"] / found["n_items"] == pytest.approx(told["coverage@10"])
    assert found["effective"] == pytest.approx(told["effective_items@10"])
    assert found["tail"] == pytest.approx(told["long_tail@10"])
    assert found["personal"] == pytest.approx(told["personalisation@10"])
    assert found["n_taken"] == interactions["item_id"].nunique()


def test_only_so_many_users_are_counted(model, monkeypatch):
    monkeypatch.setattr("recgan.report.page.MOST_USERS", 7)
    assert exposure(model, Catalogue.of(model))["n_users"] == 7


def test_map_finds_the_planted_groups(model):
    found = atlas(model, Catalogue.of(model), [0, 1])
    group = model.items.to_numpy()[Catalogue.of(model).by_popularity] % 4
    apart = np.linalg.norm(found.items[:, None] - found.items, axis=-1)
    same = group[:, None] == group
    assert apart[same].mean() < 0.7 * apart[~same].mean()
    assert found.users.shape == (2, 2)
    assert found.draws.shape == (2, 4, 2)


def test_history_is_newest_first(model, interactions):
    past = interactions[interactions["user_id"] == 5].sort_values("timestamp", ascending=False)
    shown = model.items.to_numpy()[reading.history(model, 5)]
    assert shown.tolist() == past["item_id"].tolist()


def test_colours_are_the_eight_most_frequent_categories(model):
    found = atlas(model, Catalogue.of(model), [])
    assert found.categories[:2] == ["Even", "Odd"]
    assert len(found.categories) == 6
    assert set(found.hues.tolist()) == {0, 1}


def test_same_model_same_page_whatever_the_settings_of_matplotlib(model, tmp_path):
    import matplotlib

    first = write_report(model, tmp_path / "a.html").read_bytes()
    with matplotlib.rc_context({"font.size": 40, "text.usetex": True, "axes.facecolor": "red"}):
        second = write_report(model, tmp_path / "b.html").read_bytes()
        assert matplotlib.rcParams["font.size"] == 40
    assert first == second


def test_report_survives_save_and_load(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    first, second = (write_report(one, tmp_path / "r.html").read_text() for one in (model, loaded))
    parted = [text.split("<footer>")[0] for text in (first, second)]
    assert parted[0] == parted[1]


def test_every_colour_has_a_light_and_a_dark_value():
    assert set(LIGHT) == set(DARK)
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_map_is_a_small_picture(model, tmp_path):
    path = save_map(model, tmp_path / "map.png", users=[1, 2], width=1000, height=600)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]), int.from_bytes(content[20:24]) == (1000, 600)
    assert len(content) <= 150_000


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_missing_extra_is_named(model, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(recgan.ConfigError, match=r"pip install recgan\[report\]"):
        write_report(model, tmp_path / "r.html")


def test_a_write_that_fails_leaves_the_old_page(model, tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(recgan.ConfigError, match="cannot be written: No space left"):
        write_report(model, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_place_for_a_page(model, tmp_path):
    with pytest.raises(recgan.ConfigError, match="cannot be written"):
        write_report(model, tmp_path)


def lists_of(**ranked):
    rows = [(user, item, place + 1) for user, items in ranked.items() for place, item in enumerate(items)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


def test_comparison_table_is_that_of_evaluate_and_compare():
    users = [f"u{number}" for number in range(12)]
    truth = pd.DataFrame({"user_id": users, "item_id": "x"})
    lists = {
        "ours": lists_of(**{key: ["x", "y"] for key in users}),
        "weak": lists_of(**{key: ["y", "z"] for key in users}),
        "strong": lists_of(**{user: ["x"] if n % 2 else ["y", "x"] for n, user in enumerate(users)}),
    }
    table = comparison_table(lists, truth, "mrr@2").set_index("model")
    assert table["mean"].tolist() == [1.0, 0.0, (1 / 2 + 1) / 2]
    compared = recgan.compare(lists["ours"], lists["strong"], truth, "mrr@2")
    assert table.loc["ours", "p_value"] == compared.p_value
    assert np.isnan(table.loc["strong", "p_value"])
    assert table.loc["weak", "p_value"] < 0.01
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()


def test_comparison_in_the_page(model, tmp_path):
    rows = [("recgan", "ndcg@10", 0.4321, 0.41, 0.45, 0.00002), ("EASE", "ndcg@10", 0.4011, 0.38, 0.42, None)]
    rows += [("recgan", "recall@20", 0.3, 0.2, 0.4, 0.04), ("EASE", "recall@20", 0.25, 0.2, 0.3, None)]
    table = pd.DataFrame(rows, columns=["model", "metric", "mean", "low", "high", "p_value"])
    table.to_csv(tmp_path / "c.csv", index=False)
    first = write_report(model, tmp_path / "a.html", comparison=table)
    page = Page(first)
    assert_safe(page)
    assert len(figures(page)) == 17
    assert "recgan 0.4321 0.4100 \N{EN DASH} 0.4500 < 0.001" in page.words
    assert "EASE 0.2500 0.2000 \N{EN DASH} 0.3000 \N{EN DASH}" in page.words
    second = write_report(model, tmp_path / "b.html", comparison=tmp_path / "c.csv")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="mean"), "'mean' missing"),
        (lambda table: table.assign(low=np.nan), "missing values"),
        (lambda table: pd.concat([table, table]), "more than once"),
    ],
)
def test_bad_comparisons_are_refused(change, message):
    table = pd.DataFrame({"model": ["a"], "metric": ["ndcg@10"], "mean": [0.4], "low": [0.3], "high": [0.5]})
    assert np.isnan(read_comparison(table)["p_value"][0])
    with pytest.raises(recgan.DataError, match=message):
        read_comparison(change(table))


def test_comparison_table_needs_models():
    with pytest.raises(recgan.ConfigError, match="0 models"):
        comparison_table({}, pd.DataFrame({"user_id": [1], "item_id": [1]}))


def test_words_for_numbers():
    assert words.number(1234567) == "1,234,567"
    assert words.percent(0.00041).split() == ["0.04", "%"]
    assert words.percent(0.0).split() == ["0", "%"]
    assert words.percent(-0.0265, signed=True) == "\N{MINUS SIGN}2.6\N{NO-BREAK SPACE}%"
    assert words.duration(59.94) == "59.9 s"
    assert words.duration(3599.7) == "1 h 0 min"
    assert plain("\x00 a\n\tb \ud800") == "a b"


def test_nothing_of_the_model_changes(model, tmp_path):
    before = model.info()
    write_report(model, tmp_path / "r.html")
    assert model.info() == before


def test_default_users_have_short_to_long_histories(model, interactions):
    chosen = reading.example_users(model)
    lengths = interactions["user_id"].value_counts()
    assert len(chosen) == len(set(chosen)) == 4
    assert lengths[chosen].is_monotonic_increasing


def test_ideal_items_of_the_example_users(model, tmp_path, of_two, of_nobody):
    page = of_two
    told = page.words.split("Ideal items")[2].split("Similar items")[0]
    names = dict(zip(model.items, Catalogue.of(model).names, strict=True))
    for user in (3, 11):
        for row in model.ideal_items(user, 2).itertuples():
            assert f"{names[row.nearest_item_id]} {row.gap:.2f}" in told
            assert row.categories.split("|")[0] in told
    assert "on items held out: categories average precision" in told
    bare = renamed(model, pd.DataFrame({"item_id": model.items}))
    page = Page(write_report(bare, tmp_path / "b.html", users=[3]))
    assert "The item table has no attributes to decode, so only the nearest items are told." in page.words
    assert "Ideal items" not in of_nobody.words


def section(page: Page, name: str) -> str:
    """All words of the section with an id."""
    inside = page.source.split(f'<section id="{name}">')[1].split("</section>")[0]
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", inside, flags=re.DOTALL).split())


def test_moods_of_the_example_users(model, of_two):
    told = section(of_two, "moods")
    names = dict(zip(model.items, Catalogue.of(model).names, strict=True))
    for user in (3, 11):
        card = told.split(f"User {user} ")[1]
        found = model.moods(user, 5, 4)
        for (_, part), share in zip(found.groupby("mood"), found.attrs["share"], strict=True):
            assert f"{part['name'].iloc[0]} {words.percent(share)}".replace("\N{NO-BREAK SPACE}", " ") in card
            for row in part.itertuples():
                assert names[row.item_id] in card
                assert f"{row.score:.2f}" in card
    assert "64 draws of the noise a user" in told


def test_every_draw_has_the_colour_of_the_nearest_mood(model):
    card = moods(model, Catalogue.of(model), [3])["cards"][0]
    query = model._query(model._known([3]), items=None, exclude=None, filter_seen=True)
    found, names = model._find_moods(query, 5, 4)
    assert [one["name"] for one in card["lists"]] == names
    drawn = wanted_vectors(model._blocks, query.histories, 64, model._config.seed)[0]
    cloud = _cloud("user 3", drawn, found)
    for mood, one in enumerate(found):
        place = int((drawn @ one.vector).argmax())
        assert cloud.nearest[place] == mood
        np.testing.assert_allclose(cloud.draws[place], cloud.moods[mood], atol=1e-5)
    assert cloud.draws.shape == (64, 2)


def test_no_moods_and_no_uncertainty_are_told(model, tmp_path, monkeypatch, of_nobody):
    nobody = of_nobody
    assert section(nobody, "moods") == "Moods No user has a history, so there are no moods."
    assert "a star one of the users" not in section(nobody, "uncertainty")
    assert "mathdefault" not in nobody.source
    monkeypatch.setattr("recgan.report.moods.ALIKE", 3.0)
    alike = Page(write_report(model, tmp_path / "a.html", users=[3]))
    assert "The draws of the noise are alike" in section(alike, "moods")
    assert "there is no uncertainty to tell" in section(alike, "uncertainty")
    assert len(figures(alike)) == 12


def test_a_user_who_has_everything_gets_no_moods(tmp_path):
    pairs = [(user, item) for user in range(6) for item in "abc"]
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    held_out = recgan.Holdout(frame.iloc[[0]], frame.iloc[[1]])
    page = Page(write_report(recgan.train(frame, validation=held_out, config=recgan.Config(**SMALL)), tmp_path / "r"))
    assert section(page, "moods") == "Moods Nothing is left to list, so there are no moods."


def test_uncertainty_of_the_example_users(model, interactions, of_two):
    told, values = section(of_two, "uncertainty"), model.uncertainty().set_index("user_id")["uncertainty"]
    lengths = interactions["user_id"].value_counts()
    assert f"60 users, median {values.median():.3g};" in told
    for user in (3, 11):
        surer = words.percent((values > values[user]).mean()).replace("\N{NO-BREAK SPACE}", " ")
        assert f"{user} {lengths[user]} {values[user]:.3f} {surer} of users" in told
    both = pd.DataFrame({"value": values, "length": lengths})
    expected = both.corr("spearman").loc["value", "length"]
    assert f"history {words.accuracy(expected)}." in told


def test_only_so_many_users_are_drawn_but_all_who_are_marked(model, monkeypatch):
    monkeypatch.setattr("recgan.report.moods.MOST_USERS", 7)
    some = uncertainty(model, [3, 11, 12])
    assert 7 <= some["n_users"] <= 10
    assert [row["user"] for row in some["rows"]] == ["3", "11", "12"]


@pytest.fixture(scope="module")
def shop(items):
    """More users than above, so that a group taken away is beyond doubt."""
    frame = planted(n_users=160, n_items=40, n_groups=4, noise=0.1, seed=0)
    return small(frame, items, epochs=10)


@pytest.fixture(scope="module")
def left(shop):
    """All items but group 1."""
    return [item for item in shop.items if item % 4 != 1]


def test_gaps_page_tells_what_the_model_finds(shop, left, tmp_path):
    path = write_gaps(shop, tmp_path / "deep" / "gaps.html", items=left, title="What & where")
    page, found = Page(path), shop.gaps(items=left)
    assert_safe(page)
    assert len(figures(page)) == 2
    assert len(found) == 1
    assert "1 kind of items that users want is not on offer" in page.words
    gap = found.iloc[0]
    assert f"1. {', '.join(gap['categories'].split('|'))}" in page.words
    assert "Group 1" in gap["categories"]
    assert f"Wanted by {gap['users']} users" in page.words
    names = dict(zip(shop.items, Catalogue.of(shop).names, strict=True))
    for item, distance in zip(gap["nearest_items"], gap["nearest_gaps"], strict=True):
        assert f"{distance:.2f}" in page.words.split(names[item])[1][:60]
    for item in gap["missing_items"][:10]:
        assert names[item] in page.text
    assert "gap 1: " in page.text
    for text in ("What & where", "users asked 160", "on offer 30", "not on offer 10", "gaps 1"):
        assert text in page.words
    assert list(path.parent.iterdir()) == [path]


def test_gaps_page_without_gaps_says_so(shop, tmp_path):
    quiet = Page(write_gaps(shop, tmp_path / "a.html"))
    assert_safe(quiet)
    assert "No gap: all items that the model knows are on offer." in quiet.words
    assert "No region of wanted vectors lies far from every item." in quiet.words
    assert figures(quiet) == []
    random = Page(write_gaps(shop, tmp_path / "b.html", items=list(range(32))))
    assert "No gap: the 8 items that are not on offer could have been left out at random (p = 0." in random.words
    one = Page(write_gaps(shop, tmp_path / "c.html", items=list(range(39))))
    assert "all items that the model knows are on offer, but one." in one.words


def test_hostile_names_on_the_gaps_page(shop, left, tmp_path):
    numbers = shop.items.tolist()
    table = pd.DataFrame({"item_id": numbers, "title": [HOSTILE[n % len(HOSTILE)] for n in numbers]})
    table["categories"] = [f"<b>{n % 4}</b>\"'><script>" for n in numbers]
    table["<i>price</i>"] = [float(n % 4) for n in numbers]
    page = Page(write_gaps(renamed(shop, table), tmp_path / "g.html", items=left, title=HOSTILE[0]))
    assert_safe(page)
    assert len(figures(page)) == 2
    assert "<b>1</b>\"'><script>" in page.text
    assert "<i>price</i> 1" in page.text


def test_gaps_page_of_items_without_attributes(shop, left, tmp_path):
    bare = renamed(shop, pd.DataFrame({"item_id": shop.items}))
    page = Page(write_gaps(bare, tmp_path / "g.html", items=left))
    assert "1. items that cannot be described" in page.words
    assert "The item table has no attributes to decode" in page.words


def test_gaps_page_refuses_what_the_model_refuses(shop, tmp_path):
    with pytest.raises(recgan.UnknownUserError):
        write_gaps(shop, tmp_path / "g.html", users=[999])
    with pytest.raises(recgan.ConfigError, match="alpha"):
        write_gaps(shop, tmp_path / "g.html", alpha=2.0)
    with pytest.raises(recgan.DataError, match="nothing is on offer"):
        write_gaps(shop, tmp_path / "g.html", items=[])
    assert list(tmp_path.iterdir()) == []


def test_gaps_page_is_the_same_twice(shop, left, tmp_path):
    first, second = (write_gaps(shop, tmp_path / name, items=left).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


@given(st.text(), st.integers(1, 40))
def test_a_plain_label_is_one_printable_line_that_is_not_too_long(text, most):
    told = plain(text, most)
    assert len(told) <= most
    assert told.isprintable()
    assert told == told.strip()
    assert plain(told, most) == told


@given(st.floats(0, 10**6))
def test_a_duration_has_no_sixty_seconds_or_minutes(seconds):
    told = words.duration(seconds)
    numbers = [float(part) for part in told.split()[::2]]
    units = told.split()[1::2]
    assert all(number < 60 for number, unit in zip(numbers, units, strict=True) if unit != "h")
    spelled = sum(number * {"s": 1, "min": 60, "h": 3600}[unit] for number, unit in zip(numbers, units, strict=True))
    assert abs(spelled - seconds) <= (60 if "h" in units else 1)


@given(st.none() | st.floats(-3, 3) | st.just(float("nan")))
def test_a_share_in_per_cent_is_told_to_a_hundredth_part_or_as_unknown(share):
    told = words.percent(share)
    if share is None or share != share:
        assert told == words.UNKNOWN
    else:
        value = float(told.replace(words.MINUS, "-").replace(words.SPACE, "").rstrip("%"))
        assert value == pytest.approx(100 * share, abs=0.5)


@given(st.floats(0, 1))
def test_a_p_value_is_never_told_as_nought(value):
    told = words.p_value(value)
    assert told == "< 0.001" if value < 0.001 else float(told) == pytest.approx(value, abs=0.000501)


def test_the_data_are_told(model, interactions, whole):
    told = section(whole, "data")
    rows = len(interactions)
    assert f"Users, items, interactions 60, 40, {rows}" in told
    assert f"Sparsity {100 * (1 - rows / 2400):.2f}" in told
    lengths = interactions["user_id"].value_counts()
    assert f"{lengths.median():.0f} interactions in the middle" in told
    first, last = (pd.to_datetime(interactions["timestamp"].agg(pick), unit="s").date() for pick in ("min", "max"))
    assert f"Time {first} to {last}, " in told
    popular = interactions["item_id"].value_counts().cumsum()
    n = int((popular < popular.iloc[-1] / 2).sum()) + 1
    assert f"the {n} most popular items" in told
    assert f"0 repeated pairs of user and item, {1} items" not in told
    assert "0 repeated pairs of user and item, 0 items with the title and year of another" in told


def test_repeats_and_missing_clocks_are_told(interactions, tmp_path):
    unordered = small(interactions.drop(columns="timestamp"))
    names = pd.DataFrame({"item_id": unordered.items, "title": ["one", "one", *map(str, range(2, 40))]})
    told = section(Page(write_report(renamed(unordered, names), tmp_path / "r.html")), "data")
    assert "2 items with the title and year of another" in told
    assert "Time none: histories are sets" in told
    assert len(figures(Page(tmp_path / "r.html"))) == 14


def test_lists_can_be_searched_with_their_reasons(model, of_two):
    told, names = section(of_two, "search"), dict(zip(model.items, Catalogue.of(model).names, strict=True))
    assert [attributes["data-user"] for tag, attributes in of_two.tags if tag == "details"] == ["3", "11"]
    for user in (3, 11):
        card = told.split(f"User {user} ")[1]
        for row in model.recommend(user, 10).itertuples():
            found = model.explain(user, row.item_id).head(2)
            reasons = [one for one in found.itertuples() if one.share > 0]
            pattern = ", ".join(rf"{re.escape(names[one.item_id])} \(([\d.]+) %\)" for one in reasons)
            assert names[row.item_id] in card
            shares = [100 * one.share for one in reasons]
            found_there = re.finditer(f"because of {pattern}", card)
            assert any(
                [float(one) for one in match.groups()] == pytest.approx(shares, abs=0.51) for match in found_there
            )


def test_all_users_can_be_searched_where_they_are_few(model, tmp_path, monkeypatch):
    page = Page(write_report(model, tmp_path / "a.html"))
    assert [tag for tag, _ in page.tags].count("details") == 60
    assert "drawn at random" not in section(page, "search")
    monkeypatch.setattr("recgan.report.lists.MOST_LISTS", 7)
    page = Page(write_report(model, tmp_path / "b.html"))
    assert [tag for tag, _ in page.tags].count("details") == 7
    assert "Lists of 7 of 60 users, drawn at random," in section(page, "search")
    assert "script" not in [tag for tag, _ in Page(write_report(model, tmp_path / "c.html", users=[])).tags]


def test_bias_is_that_of_the_lists(model, interactions, whole):
    told = section(whole, "exposure")
    for row in recgan.popularity_bias(model.recommend_batch(n=10), interactions).itertuples():
        lift = words.percent(row.lift, signed=True).replace("\N{NO-BREAK SPACE}", " ")
        assert f"{row.group} {row.users} {lift} {row.deviation:.3f}" in told


def test_gaps_stand_in_the_report(shop, left, tmp_path):
    whole = section(Page(write_report(shop, tmp_path / "a.html")), "gaps")
    assert "No gap: all items that the model knows are on offer." in whole
    page = Page(write_report(shop, tmp_path / "b.html", items=left))
    assert_safe(page)
    assert "1 kind of items that users want is not on offer" in section(page, "gaps")
    assert "Group 1" in section(page, "gaps")
    with pytest.raises(recgan.DataError, match="nothing is on offer"):
        write_report(shop, tmp_path / "c.html", items=[])


def test_a_metric_at_three_lengths_becomes_a_curve(model, tmp_path):
    rows = [
        (name, f"ndcg@{k}", 0.1 * k + shift, 0.0, 1.0)
        for name, shift in (("ours", 0.1), ("<b>", 0.0))
        for k in (1, 5, 2)
    ]
    table = pd.DataFrame(rows, columns=["model", "metric", "mean", "low", "high"])
    page = Page(write_report(model, tmp_path / "r.html", comparison=table))
    assert_safe(page)
    assert len(figures(page)) == 15 + 1 + 1
    assert "ndcg@5" in section(page, "comparison")
    assert "ndcg@2" not in section(page, "comparison")
    assert "ndcg@k" in section(page, "comparison")
    lines = by_length(table)[0]
    assert lines["metric"] == "ndcg@k"
    assert by_length(table[table["metric"] != "ndcg@2"]) == []
