"""F test of the deviations of sizes from a law against the scatter of seeds within sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dielectric_gnn.scaling.fitting import Fit

LACK_OF_FIT_P = 0.01
"""Below this p-value, a law does not describe the data within the noise of the seeds."""


@dataclass(frozen=True)
class LackOfFit:
    """Result of the test.

    Args:
        ratio: F, mean square between sizes divided by that within them.
        between: Degrees of freedom between: sizes minus parameters.
        within: Degrees of freedom within: runs minus sizes.
        probability: p-value, the probability that noise of the seeds alone gives this ratio or a larger one.
    """

    ratio: float
    between: int
    within: int
    probability: float

    @property
    def is_significant(self) -> bool:
        """Whether the law does not describe the sizes within the noise of the seeds."""
        return self.probability < LACK_OF_FIT_P


def lack_of_fit(fitted: Fit) -> LackOfFit | None:
    """The test of one law; None without several seeds, without scatter, or for fits to means."""
    from scipy.special import fdtrc

    samples = fitted.samples
    within = int(samples.freedom_within)
    if fitted.mode == "published" or not fitted.freedom or within < 1 or samples.within < 1e-18:
        return None
    predicted = fitted.law.log_loss(fitted.theta, samples.x)
    between = float((samples.counts / samples.shape * (samples.y - predicted) ** 2).sum())
    ratio = between / fitted.freedom / samples.seed_variance
    return LackOfFit(ratio, fitted.freedom, within, float(fdtrc(fitted.freedom, within, np.float64(ratio))))


def does_not_describe(fitted: Fit) -> bool:
    """Whether the test of one law is significant."""
    found = lack_of_fit(fitted)
    return found is not None and found.is_significant
