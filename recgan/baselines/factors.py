"""Matrix factorisations of the library implicit (extra `bench`): it fits the factors, the lists are made here."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recgan.baselines.base import Baseline, number_above_zero, whole_number
from recgan.errors import ConfigError, TrainingError
from recgan.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class IALS(Baseline):
    """Alternating least squares on implicit feedback (Hu, Koren and Volinsky, ICDM 2008), fitted by implicit.

    Minimises `sum over all pairs of c_ui (p_ui - x_u . y_i)^2 + regularisation (sum |x_u|^2 + sum |y_i|^2)` with
    p = 1 and c = alpha where user u has item i, else p = 0 and c = 1. Every history, stored or given, is folded in: its
    user vector is the exact least squares solution for the item vectors. Fitted on all cores, or on OMP_NUM_THREADS of
    them, which a machine busy with other work wants at 1; the result is the same.

    Args:
        factors: length of the vectors.
        regularisation: above 0; not scaled by counts, so larger data wants more.
        alpha: confidence in an interaction, above 0; 1 counts it as much as a gap.
        iterations: passes over users and items.
        seed: of the starting values, 0 or more.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> IALS(factors=128)
        IALS(factors=128, regularisation=20.0, alpha=2.0, iterations=15, seed=0)
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "factors": (32, 64, 128, 256),
        "regularisation": (5.0, 10.0, 20.0, 50.0, 100.0),
        "alpha": (1.0, 2.0, 5.0, 10.0),
    }

    def __init__(
        self, factors: int = 64, regularisation: float = 20.0, alpha: float = 2.0, iterations: int = 15, seed: int = 0
    ) -> None:
        self.factors = whole_number("factors", factors)
        self.regularisation = number_above_zero("regularisation", regularisation)
        self.alpha = number_above_zero("alpha", alpha)
        self.iterations = whole_number("iterations", iterations)
        self.seed = whole_number("seed", seed, least=0)

    def _learn(self, histories: Histories, prepared: csr_matrix) -> None:
        library = _implicit("als")
        with _one_blas_thread():
            self._model = library.AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularisation,
                alpha=self.alpha,
                iterations=self.iterations,
                use_gpu=False,
                random_state=self.seed,
            )
            _fit(self._model, prepared, "raise regularisation")
        self._fold_in(prepared[:1])

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(self._fold_in(histories.matrix()) @ self._model.item_factors.T, np.float32)

    def _fold_in(self, matrix: csr_matrix) -> np.ndarray:
        """User vectors, (B, factors) float32, of histories, (B, N)."""
        try:
            with _one_blas_thread():
                return np.asarray(self._model.recalculate_user(np.arange(matrix.shape[0]), matrix))
        except ValueError as error:
            raise TrainingError(f"{self!r}: histories cannot be folded in: raise regularisation") from error


class BPR(Baseline):
    """Bayesian personalised ranking of a matrix factorisation (Rendle et al., UAI 2009), fitted by implicit.

    A known user whose stored history is served has the learned vector. A given history, which the method does not
    provide for, has the mean of its items' vectors; the items' biases count in both. Fitted on one thread, so that a
    seed reproduces.

    Args:
        factors: length of the vectors.
        learning_rate: step size, above 0.
        regularisation: 0 or more.
        iterations: passes over the interactions.
        seed: of starting values and samples, 0 or more.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> BPR(iterations=50)
        BPR(factors=64, learning_rate=0.01, regularisation=0.01, iterations=50, seed=0)
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "factors": (32, 128),
        "learning_rate": (0.005, 0.02),
        "regularisation": (0.001, 0.003, 0.01),
        "iterations": (50, 100, 200),
    }

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.01,
        regularisation: float = 0.01,
        iterations: int = 100,
        seed: int = 0,
    ) -> None:
        self.factors = whole_number("factors", factors)
        self.learning_rate = number_above_zero("learning_rate", learning_rate)
        self.regularisation = number_above_zero("regularisation", regularisation, or_zero=True)
        self.iterations = whole_number("iterations", iterations)
        self.seed = whole_number("seed", seed, least=0)

    def _learn(self, histories: Histories, prepared: csr_matrix) -> None:
        library = _implicit("bpr")
        with _one_blas_thread():
            model = library.BayesianPersonalizedRanking(
                factors=self.factors,
                learning_rate=self.learning_rate,
                regularization=self.regularisation,
                iterations=self.iterations,
                use_gpu=False,
                num_threads=1,
                random_state=self.seed,
            )
            _fit(model, prepared, "lower learning_rate")
        self._user_vectors = model.user_factors[:, :-1]
        self._item_vectors, self._biases = model.item_factors[:, :-1], model.item_factors[:, -1]

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        given = histories.matrix()
        counts = np.maximum(np.diff(given.indptr), 1)[:, None]
        vectors = np.asarray(given @ self._item_vectors) / counts
        known = np.flatnonzero(numbers >= 0)
        stored = self._histories.take(numbers[known]).matrix()
        same = known[np.diff((given[known] != stored).indptr) == 0]
        vectors[same] = self._user_vectors[numbers[same]]
        return np.asarray(vectors @ self._item_vectors.T + self._biases, np.float32)


def _implicit(module: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of absent GPUs and notebook widgets
            return importlib.import_module(f"implicit.{module}")
    except ImportError as error:
        raise ConfigError("IALS and BPR need the library implicit: pip install recgan[bench]") from error


def _one_blas_thread() -> AbstractContextManager[Any]:
    """The library runs its own threads: BLAS threads inside them slow it down tenfold, and it warns of them."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")  # type: ignore[no-any-return]


def _fit(model: Any, matrix: csr_matrix, advice: str) -> None:
    from implicit.recommender_base import ModelFitError

    try:
        model.fit(matrix, show_progress=False)
    except ModelFitError as error:
        raise TrainingError(f"training diverged ({error}): {advice}") from error
