"""Error statistics against scipy and against cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hwsim.core.errors import UsageError
from hwsim.measure.statistics import bootstrap_interval, spearman, summarize

VALUES = st.lists(st.integers(1, 9).map(float), min_size=3, max_size=30)


@given(VALUES)
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_spearman_is_scipys_with_ties(values: list[float]) -> None:
    other = [float((v * 7) % 5 + 1) for v in values]
    a, b = np.array(values), np.array(other)
    expected = spearmanr(a, b).statistic
    if np.isnan(expected):
        assert np.isnan(spearman(a, b))
    else:
        assert spearman(a, b) == pytest.approx(expected)


def test_errors_by_hand() -> None:
    s = summarize(np.array([1.1, 0.8, 3.0]), np.array([1.0, 1.0, 2.0]))
    assert (s.rows, s.max_pct) == (3, pytest.approx(50))
    assert s.mape_pct == pytest.approx((10 + 20 + 50) / 3)
    assert s.median_pct == pytest.approx(20)
    assert s.bias_pct == pytest.approx((10 - 20 + 50) / 3)


def test_the_interval_draws_groups_not_rows() -> None:
    errors = np.array([0.0] * 50 + [10.0] * 50)
    one_each = bootstrap_interval(errors, [str(i) for i in range(100)])
    two_groups = bootstrap_interval(errors, ["a"] * 50 + ["b"] * 50)
    assert one_each[1] - one_each[0] < 5
    assert two_groups == (0.0, 10.0)


@pytest.mark.parametrize("measured", [[1.0, 0.0], [1.0, float("nan")], [1.0]])
def test_a_measured_value_must_be_positive_and_there(measured: list[float]) -> None:
    with pytest.raises(UsageError, match=r"zero, negative or not a number|cannot be compared"):
        summarize(np.ones(2), np.array(measured))
