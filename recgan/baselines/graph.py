"""Linear rivals made of neighbours: walks on the graph of users and items, steps in time, sparse regressions."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recgan.baselines.base import number_above_zero, share, whole_number
from recgan.baselines.closed import Neighbourhood
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.linear import SparseRows, neighbours, transition_counts, transitions
from recgan.ranking import ABSENT, top_items

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Grid = Mapping[str, Sequence[Any]]
SLIM_ITEMS = 5000


class RP3Beta(Neighbourhood):
    """A random walk of three steps that does not favour what is popular (Paudel et al., ACM TiiS 2017).

    `score_i = sum over the history of w_hi` with `w_hi = n_i^-beta sum over users with both of (n_h n_u)^-alpha`, where
    n counts interactions and an item h keeps its k largest weights, as in the comparison of Dacrema et al. (TOIS 2021).
    beta = 0 is P3alpha. An item that the walk does not reach ranks behind, by popularity, with a score in [-1, 0).

    Args:
        alpha: exponent of the transition probabilities, 0 or more.
        beta: how strongly the popularity of the item that is reached is divided out, 0 or more.
        k: neighbours kept of an item of the history.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "c", "b"]})
        >>> RP3Beta(alpha=1, beta=0).fit(inter).recommend(history=["b"]).score.round(2).tolist()
        [0.25, -0.67]
    """

    grid: ClassVar[Grid] = {"alpha": (0.4, 0.6, 0.8, 1.0), "beta": (0.0, 0.1, 0.2, 0.35, 0.5, 0.7), "k": (100, 400)}

    def __init__(self, alpha: float = 0.8, beta: float = 0.3, k: int = 200) -> None:
        self.alpha = number_above_zero("alpha", alpha, or_zero=True)
        self.beta = number_above_zero("beta", beta, or_zero=True)
        self.k = whole_number("k", k)

    @classmethod
    def _prepare(cls, histories: Histories) -> None:
        """Nothing."""

    def _learn(self, histories: Histories, prepared: None) -> None:
        powers = {"user_power": self.alpha, "from_power": self.alpha, "to_power": self.beta}
        self._rows = neighbours(histories, **powers, keep=self.k)


class Transitions(Neighbourhood):
    """What came soon after the items of the history, the newest of them counting most; needs an order in time.

    `score_j = sum over the history of history_decay^age T_hj` with the decayed, shrunk counts T that
    `recgan.linear.transitions` defines, relatives of the sequential rules of Ludewig and Jannach (UMUAI 2018). An item
    that no transition leads to ranks behind, by popularity, with a score in [-1, 0).

    Args:
        shrinkage: counts added to both items, 0 or more.
        from_power: how strongly the popularity of the earlier item is divided out, 0 or more.
        to_power: how strongly the popularity of the later item is divided out, 0 or more.
        backward: weight of a transition read against time, from 0 to 1.
        gap_decay: what a transition keeps of its weight with every step of its gap, above 0, at most 1.
        history_decay: what an item keeps of its weight with every newer one, above 0, at most 1.
        reach: longest gap in steps.
        keep: transitions kept of an item.
        half_life: days after which a transition counts half; None: all count alike. Needs a column 'timestamp'.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": ["a", "b", "b", "c"], "position": [0, 1, 0, 1]})
        >>> Transitions().fit(inter).recommend(history=["b"]).item_id.tolist()
        ['c', 'a']
    """

    grid: ClassVar[Grid] = {
        "shrinkage": (20.0, 60.0),
        "to_power": (0.3, 0.5, 0.7),
        "backward": (0.0, 0.2, 0.6),
        "history_decay": (0.4, 0.6, 0.8, 0.95),
    }

    def __init__(
        self,
        shrinkage: float = 60.0,
        from_power: float = 0.7,
        to_power: float = 0.3,
        backward: float = 0.2,
        gap_decay: float = 0.9,
        history_decay: float = 0.6,
        reach: int = 30,
        keep: int = 200,
        half_life: float | None = None,
    ) -> None:
        self.half_life = None if half_life is None else number_above_zero("half_life", half_life)
        self.shrinkage = number_above_zero("shrinkage", shrinkage, or_zero=True)
        self.from_power = number_above_zero("from_power", from_power, or_zero=True)
        self.to_power = number_above_zero("to_power", to_power, or_zero=True)
        self.backward = share("backward", backward, or_zero=True)
        self.gap_decay, self.history_decay = share("gap_decay", gap_decay), share("history_decay", history_decay)
        self.reach, self.keep = whole_number("reach", reach), whole_number("keep", keep)

    @classmethod
    def _grid_for(cls, histories: Histories) -> Grid:
        return {**cls.grid, "half_life": (None, 90.0, 30.0, 7.0)} if histories.clock else cls.grid

    @classmethod
    def _prepare(cls, histories: Histories) -> Callable[..., csr_matrix]:
        if not histories.ordered:
            raise DataError("interactions: Transitions needs a column 'timestamp', or 'position' (0 for the oldest)")
        return functools.cache(functools.partial(transition_counts, histories))

    def _learn(self, histories: Histories, prepared: Callable[..., csr_matrix]) -> None:
        if self.half_life is not None and not histories.clock:
            raise DataError("interactions: half_life needs a column 'timestamp'; leave half_life=None without one")
        counts = prepared(reach=self.reach, gap_decay=self.gap_decay, half_life=self.half_life)
        shape = ("backward", "shrinkage", "from_power", "to_power", "history_decay", "keep")
        self._rows = transitions(histories, counts=counts, **{name: getattr(self, name) for name in shape})


class SLIM(Neighbourhood):
    """Sparse linear methods: each item from the others by a non-negative elastic net (Ning and Karypis, ICDM 2011).

    `score = r W` for a history r; column j of W minimises `|x_j - X w|^2 / 2 + l2 |w|^2 / 2 + l1 |w|_1` over `w >= 0`
    with the columns x of the interactions, ones and zeros, and weights for the k items of largest cosine alone (the
    paper's fsSLIM). An item that no weight leads to ranks behind, by popularity, with a score in [-1, 0).

    Args:
        l1: penalty of the weights, above 0: items that share no more users than that get none.
        l2: the ridge, in counts, above 0.
        k: most neighbours of an item; the size of the catalogue makes it SLIM without selection, many times slower.

    Raises:
        ConfigError: when an argument is out of range or, by `fit`, when there are more than 5,000 items.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "b", "c"]})
        >>> SLIM(l1=0.5, l2=1).fit(inter).recommend(history=["a"]).score.round(2).tolist()
        [0.5, -0.67]
    """

    grid: ClassVar[Grid] = {"l1": (1.0, 3.0, 10.0), "l2": (50.0, 100.0, 200.0, 500.0), "k": (100, 400)}

    def __init__(self, l1: float = 3.0, l2: float = 200.0, k: int = 200) -> None:
        self.l1, self.l2 = number_above_zero("l1", l1), number_above_zero("l2", l2)
        self.k = whole_number("k", k)

    @classmethod
    def _prepare(cls, histories: Histories) -> np.ndarray:
        if histories.n_items > SLIM_ITEMS:
            raise ConfigError(f"SLIM: for {SLIM_ITEMS:,} items at most, not {histories.n_items:,}: take RP3Beta")
        matrix = histories.matrix()
        return np.asarray((matrix.T @ matrix).toarray(), np.float64)

    def _learn(self, histories: Histories, prepared: np.ndarray) -> None:
        from scipy.sparse import csr_matrix

        lengths = np.sqrt(np.maximum(np.diag(prepared), 1.0))
        cosines = np.where(prepared > self.l1, prepared / np.outer(lengths, lengths), -np.inf).astype(np.float32)
        np.fill_diagonal(cosines, -np.inf)
        nearest, weights = top_items(cosines, self.k)[0], np.zeros(prepared.shape, np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that end their sweeps short of the tolerance
            for item, others in enumerate(row[row != ABSENT] for row in nearest):
                if len(others):
                    weights[others, item] = self._regress(prepared, others, item)
        self._rows = SparseRows(csr_matrix(weights))

    def _regress(self, gram: np.ndarray, others: np.ndarray, item: int) -> np.ndarray:
        from sklearn.linear_model import enet_path

        data = np.zeros((1, len(others)), order="F"), np.sqrt(gram[[item], item])  # their products are given instead
        products: dict[str, Any] = {"precompute": gram[np.ix_(others, others)], "Xy": gram[others, item]}
        penalty: dict[str, Any] = {"alphas": [self.l1 + self.l2], "l1_ratio": self.l1 / (self.l1 + self.l2)}
        return np.asarray(enet_path(*data, **products, **penalty, positive=True, check_input=False)[1][:, 0])
