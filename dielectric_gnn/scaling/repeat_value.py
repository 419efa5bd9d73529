"""What a further epoch on the same materials is worth: the finding of laws with repeated data."""

from __future__ import annotations

from typing import Any

import numpy as np

from dielectric_gnn.scaling.comparison import Comparison
from dielectric_gnn.scaling.findings import (
    Finding,
    Intervals,
    aicc_distance,
    format_number,
    interval_details,
    law_details,
)
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.intervals import Interval


def find_value_of_repeats(comparison: Comparison, profiles: Intervals) -> Finding:
    """How many epochs are worth it, by every plausible law.

    After R repetitions a further epoch is worth e^(−R/R_D) times as many fresh materials: a half after 1 + R_D ln 2
    epochs.

    Args:
        comparison: The compared laws.
        profiles: Intervals of the parameters of plausible laws by profile likelihood.
    """
    best, most = comparison.best, float(comparison.best.points.values[:, -1].max())
    saturating = [one for one in comparison.plausible if "RD" in one.parameters]
    details = [_details(comparison, one, profiles[one.law.name]["RD"]) for one in saturating]
    texts = []
    if "RD" not in best.parameters:
        texts.append(f"Up to {most:g} epochs, a further epoch is worth as much as fresh data, given {best.law.name}.")
    for one, row in zip(saturating, details, strict=True):
        law = one.law.name if one is best else f"{one.law.name}, {aicc_distance(comparison, one)}"
        texts.append(_in_words(row, law, most))
    return Finding(" ".join(texts), details)


def _details(comparison: Comparison, one: Fit, interval: Interval) -> dict[str, Any]:
    def scaled(factor: float) -> dict[str, Any]:
        """1 + factor R_D, with its interval."""
        ends = Interval(1.0 + factor * interval.low, 1.0 + factor * interval.high, interval.level)
        return {"value": 1.0 + factor * one.parameters["RD"], **interval_details(ends, "profile likelihood")}

    return {
        "question": "value of repeated data",
        **law_details(comparison, one),
        "epochs_of_half_value": scaled(float(np.log(2.0))),
        "largest_effective_data": scaled(1.0),
    }


def _in_words(row: dict[str, Any], law: str, most: float) -> str:
    epochs, worth = (
        f"{format_number(one['value'])} ({Interval(one['low'], one['high'])})"
        for one in (row["epochs_of_half_value"], row["largest_effective_data"])
    )
    beyond = f", an extrapolation beyond {most:g} epochs" if row["epochs_of_half_value"]["value"] > most else ""
    return (
        f"After {epochs} epochs a further one is worth less than half of fresh data{beyond}, and all together are "
        f"worth at most {worth} times the unique data (given {law})."
    )
