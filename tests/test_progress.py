from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgan.progress import Pace, Progress


@pytest.fixture
def terminal(monkeypatch):
    """Rich takes stderr for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_is_shown_stages_epochs_and_steps(terminal, capsys):
    with Progress() as progress:
        progress.stage("reading")
        done = progress.epochs("generator", 2)
        done(1, None)
        done(2, 0.25)
        progress.steps("users", 4)(4)
    out = capsys.readouterr()
    assert out.out == ""
    for word in ("reading", "generator", "2/2", "metric 0.2500", "users", "4/4"):
        assert word in out.err


@pytest.mark.parametrize("forced", [True, False])
def test_nothing_is_shown_where_nothing_may_be(forced, monkeypatch, capsys):
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(enabled=False) as progress:
        progress.stage("reading")
        progress.epochs("generator", 2)(1, 0.5)
        progress.steps("users", 3)(1)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_bar_leaves_no_empty_line(capsys):
    with Progress() as progress:
        progress.stage("reading")
    assert capsys.readouterr() == ("", "")


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 100)), max_size=20), st.integers(0, 9))
def test_a_pace_adds_up_and_speaks_of_now_and_then(steps, before):
    clock, now, told = [0.0], 0.0, 0.0
    pace = Pace(10_000, before, clock=lambda: clock[0])
    for more, seconds in steps:
        now += seconds
        clock[0] = now
        words = pace.after(more)
        assert words.endswith(" left")
        assert ("unknown" in words) == (pace.done == before)
        due = pace.due()
        assert due == (now - told >= 10.0)
        told = now if due else told
    assert pace.done == before + sum(more for more, _ in steps)
