"""The part of a backtest that a fit stores: coverage by ratio, which all verdicts use."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from bayescale.errors import TrustError
from bayescale.posterior import Fit, Posterior
from bayescale.validation.across import across_record
from bayescale.validation.backtest_result import Backtest
from bayescale.validation.split_forecasts import splits_record


def bins(backtest: Backtest, law: str | None = None) -> list[dict[str, Any]]:
    """Return the coverage of 90 % intervals of a single new run, by factors of two in ratio.

    Parameters
    ----------
    backtest : Backtest
    law : str, optional
        One of its laws; by default the model average, or the only law.

    Returns
    -------
    list of dict
        Plain values for each bin that has forecasts: ``lower`` (excluded), ``upper`` (included),
        ``n`` (forecasts), ``n_covered``, ``n_cutoffs``, ``coverage90`` (averaged over cutoffs) and
        ``largest`` (the largest ratio in the bin).
    """
    frame = backtest.forecasts
    frame = frame[frame["law"] == (law or backtest.answer)]
    power = np.maximum(np.ceil(np.log2(frame["ratio"].to_numpy()) - 1e-9), 1).astype(int)
    found = []
    for k, part in frame.groupby(power):
        by_cutoff = part.groupby("cutoff")["covered90"].mean()
        found.append(
            {
                "lower": 2.0 ** (cast(int, k) - 1),
                "upper": 2.0 ** cast(int, k),
                "n": len(part),
                "n_covered": int(part["covered90"].sum()),
                "n_cutoffs": len(by_cutoff),
                "coverage90": float(by_cutoff.mean()),
                "largest": float(part["ratio"].max()),
            }
        )
    return found


def record_of(backtest: Backtest) -> dict[str, Any]:
    """Return the part of a backtest that a fit stores, as plain values."""
    return {
        "bins": bins(backtest),
        "laws": list(backtest.laws),
        "weights": list(backtest.weights),
        "scale": backtest.scale,
        "cutoffs": list(backtest.cutoffs),
        "n": int((backtest.forecasts["law"] == backtest.answer).sum()),
        "refits": backtest.n_refits,
        "splits": splits_record(_of_answer(backtest, backtest.splits)),
        "across": across_record(_of_answer(backtest, backtest.across)),
        "unconverged": len(backtest.unconverged()),
        "missing": [list(item) for item in backtest.missing],
        "runs_sha256": backtest.runs.digest,
        "seed": backtest.seed,
    }


def _of_answer(backtest: Backtest, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["law"] == backtest.answer]


def keep(fit: Fit, backtest: Backtest) -> Fit:
    """Return the fit with the backtest in its record, so that the backtest need not run again.

    Raises
    ------
    TrustError
        If the backtest is of other laws or runs.
    """
    record = record_of(backtest)
    require_same(fit, record)
    first, *rest = fit.members
    first = replace(first, record={**first.record, "backtest": record})
    if isinstance(fit, Posterior):
        return first
    return replace(fit, members=(first, *rest))


def require_same(fit: Fit, record: Mapping[str, Any]) -> None:
    """Refuse a backtest of other laws or runs than the fit's.

    Raises
    ------
    TrustError
    """
    laws = {member.name for member in fit.members}
    if set(record["laws"]) != laws:
        raise TrustError(
            f"the backtest is of {' and '.join(sorted(record['laws']))}, but the fit is of "
            f"{' and '.join(sorted(laws))}: backtest the fit's own laws"
        )
    if fit.runs is None or record["runs_sha256"] != fit.runs.digest:
        raise TrustError(
            "the backtest is of another run log than the fit: backtest the fit's own runs"
        )
