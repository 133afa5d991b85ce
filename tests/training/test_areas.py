"""The areas under the curves of labelled records, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from vaewatch.training.report.areas import areas

SCORES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), SCORES), min_size=1, max_size=60))
def test_they_are_those_of_scikit_learn(records: list[tuple[bool, float]]):
    anomaly, score = map(np.array, zip(*records, strict=True))
    under = areas(anomaly, score)
    if anomaly.all() or not anomaly.any():
        assert under is None
        return
    assert under is not None
    assert under.auroc == pytest.approx(roc_auc_score(anomaly, score), abs=1e-12)
    assert under.auprc == pytest.approx(average_precision_score(anomaly, score), abs=1e-12)
