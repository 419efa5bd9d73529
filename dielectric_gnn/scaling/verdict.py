"""Verdict: which shape of law the data support, or that they are undecided.

Laws are compared by AICc, in which sizes count. A power law is a special case of every other law, and a law in N and D
without a break is one of that with a break.

1. A law whose break lies outside the runs, or that has an exponent at a bound of the search, is not supported by the
   data. If it leads by `DECISIVE_AICC`, they are undecided. A break with fewer than two sizes on one side is not
   decisive.
2. The simpler law is kept unless a larger one leads by `DECISIVE_AICC`. A lead of `_SUGGESTIVE_AICC`, or a significant
   F test against a larger law, is no decision.
3. The simpler law is not kept if there are too few sizes to find a break.
4. Once the simple law is ruled out, a floor and a break are compared as equals: one must lead the other by
   `DECISIVE_AICC`. A broken law can imitate a floor with more parameters: the floor is kept unless that law is better.
5. A law that deviates from the sizes by more than the seeds explain decides nothing, because the deviation may be that
   of the subsets of the sizes.
6. A law that predicts the largest sizes clearly worse than a law of another shape, when both are fitted without them,
   decides nothing, and the findings follow the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.holdout import HoldOut
from dielectric_gnn.scaling.lack_of_fit import does_not_describe
from dielectric_gnn.scaling.laws import Law

DECISIVE_AICC = 6.0
"""Lead in AICc that rules out the other law."""
_SUGGESTIVE_AICC = 2.0
"""Lead in AICc of a larger law from which on the simple one is no longer said to suffice."""
_SUGGESTIVE_P = 0.05
"""p-value of the F test against a larger law, below which the simple one is no longer said to suffice."""
_MIN_FREEDOM = 3
"""Smallest number of sizes beyond the parameters of a law that can be ruled out."""
_SIZES_BESIDE_BREAK = 2
"""Sizes on either side of a break that are required for it to be seen."""
_CLEARLY_WORSE = 2.0
"""Ratio of the errors of two predictions from which on one is clearly worse."""
_SHAPES = {"power": "power", "power+floor": "saturating", "kaplan": "unbroken", "hoffmann": "unbroken"}
_SHAPES |= {f"{base}-fresh": "fresh" for base in ("power+floor", "hoffmann")}
_SHAPES |= {f"{base}-repeats": "repeats" for base in ("power+floor", "hoffmann")} | {"hoffmann-repeats+N": "repeats"}
_SIMPLE = {
    "power": "a power law suffices; no floor and no break is",
    "unbroken": "no break in D is",
    "fresh": "repeated data count as fresh data; no decrease of their value is",
}


@dataclass(frozen=True)
class Verdict:
    """Result of the comparison.

    Args:
        shape: `power`, `saturating` or `broken`, in N and D `unbroken` or `broken`, with repeated data `fresh` or
            `repeats`; None if undecided.
        law: The fit that findings follow.
        text: The verdict in a sentence.
    """

    shape: str | None
    law: Fit
    text: str


def shape_of(law: Law) -> str:
    """Shape of a law, as in `Verdict`, which distinguishes shapes only."""
    return _SHAPES.get(law.name, "broken")


def objection(fitted: Fit) -> str:
    """Why the data do not support a law: its break or an exponent is beyond them; empty if they do."""
    sizes = fitted.points.values[:, -1]
    if any(not sizes.min() <= fitted.parameters[name] <= sizes.max() for name in fitted.law.breaks):
        return "its break lies outside the runs"
    return f"{fitted.at_bounds[0]} is at a bound of the search" if fitted.at_bounds else ""


def too_close_to_the_end(fitted: Fit) -> bool:
    """Whether a break has fewer than two sizes on one side."""
    sizes = np.unique(fitted.points.values[:, -1])
    places = [fitted.parameters[name] for name in fitted.law.breaks]
    return any(min((sizes < place).sum(), (sizes > place).sum()) < _SIZES_BESIDE_BREAK for place in places)


def decide(fits: Sequence[Fit], held_out: HoldOut | None = None) -> Verdict:
    """The verdict on fits of several laws.

    Args:
        fits: Fits to the same runs, lowest AICc first.
        held_out: Prediction of the largest sizes.
    """
    supported = [one for one in fits if not objection(one)] or list(fits)
    verdict = _decide_by_aicc(supported, fits)
    for check in (_check_unsupported, _check_ends, _check_lack_of_fit):
        verdict = check(verdict, fits)
    return _check_predictions(verdict, supported, held_out)


def _decide_by_aicc(supported: Sequence[Fit], fits: Sequence[Fit]) -> Verdict:
    shapes: dict[str, list[Fit]] = {}
    for one in supported:
        shapes.setdefault(shape_of(one.law), []).append(one)
    if len({shape_of(one.law) for one in fits}) == 1:
        text = f"undecided: only laws of one shape ({shape_of(fits[0].law)}) were fitted"
        return Verdict(None, supported[0], text)
    simple = next((shapes[shape][0] for shape in _SIMPLE if shape in shapes), None)
    if simple is not None:
        rivals = [one for one in supported if shape_of(one.law) != shape_of(simple.law)]
        if not rivals or simple.aicc - rivals[0].aicc < DECISIVE_AICC:
            return _decide_on_simple(simple, rivals, fits)
    curved = [one for one in supported if simple is None or shape_of(one.law) != shape_of(simple.law)]
    return _decide_on_curved(supported, curved, shapes)


def _decide_on_simple(simple: Fit, rivals: Sequence[Fit], fits: Sequence[Fit]) -> Verdict:
    """Verdict if the simple law is not ruled out."""
    shape = shape_of(simple.law)
    others = [one for one in fits if shape_of(one.law) != shape]
    largest = min(others, key=lambda one: one.freedom)
    if largest.freedom < _MIN_FREEDOM:
        return Verdict(None, min([simple, *rivals], key=lambda one: one.aicc), _too_few(largest, simple))
    first = min(rivals or others, key=lambda one: one.aicc)
    lead = simple.aicc - first.aicc
    if rivals and lead >= _SUGGESTIVE_AICC:
        return Verdict(None, first, _undecided(first, simple))
    for one in rivals:
        if one.theta.size > simple.theta.size and (p := _improvement_p(simple, one)) < _SUGGESTIVE_P:
            text = (
                f"undecided: {one.law.name} improves on {simple.law.name} (F test, p = {p:.1g}), but not enough for "
                "its parameters by AICc"
            )
            return Verdict(None, simple, text)
    ahead, behind = (first, simple) if lead > 0 else (simple, first)
    relation = f"{ahead.law.name} leads {behind.law.name} by {abs(lead):.1f}"
    return Verdict(shape, simple, f"{shape}: {_SIMPLE[shape]} seen in these data ({relation} in AICc)")


def _improvement_p(simple: Fit, larger: Fit) -> float:
    """p-value of the F test of the additional parameters of a larger law."""
    from scipy.special import fdtrc

    variance, freedom = larger.variance
    added = larger.theta.size - simple.theta.size
    ratio = max(simple.objective - larger.objective, 0.0) / added / max(variance, 1e-300)
    return float(fdtrc(added, freedom, np.float64(ratio)))


def _decide_on_curved(supported: Sequence[Fit], curved: Sequence[Fit], shapes: dict[str, list[Fit]]) -> Verdict:
    """Verdict if the simple law is ruled out or was not fitted."""
    floor, broken = (shapes[name][0] if name in shapes else None for name in ("saturating", "broken"))
    first = curved[0]
    if floor is not None and broken is not None:
        larger = [one for one in shapes["broken"] if one.theta.size > floor.theta.size]
        equals = [one for one in supported if one is not floor and one not in larger]
        suffices = all(floor.aicc - one.aicc < _SUGGESTIVE_AICC for one in larger)
        if suffices and all(one.aicc - floor.aicc >= DECISIVE_AICC for one in equals):
            most = min(larger, key=lambda one: one.freedom, default=None)
            if most is not None and most.freedom < _MIN_FREEDOM:
                return Verdict(None, first, _too_few(most, floor))
            return _saturating(floor, equals, larger)
        if abs(floor.aicc - broken.aicc) < DECISIVE_AICC:
            second = next(one for one in curved if shape_of(one.law) != shape_of(first.law))
            return Verdict(None, first, _undecided(first, second))
    shape = shape_of(first.law)
    others = [one for one in supported if shape_of(one.law) != shape]
    if not others:
        return Verdict(None, first, f"undecided: of the supported laws all are {shape}")
    return Verdict(shape, first, _leads(shape, first, others[0]))


def _check_unsupported(verdict: Verdict, fits: Sequence[Fit]) -> Verdict:
    """Undecided if a law that decides nothing is far ahead."""
    first = fits[0]
    if verdict.shape is None or shape_of(first.law) == verdict.shape or not (why := objection(first)):
        return verdict
    lead = verdict.law.aicc - first.aicc
    if lead < DECISIVE_AICC:
        return verdict
    text = f"undecided: {first.law.name} leads {verdict.law.law.name} by {lead:.1f} in AICc, but {why}"
    return Verdict(None, verdict.law, text)


def _check_ends(verdict: Verdict, fits: Sequence[Fit]) -> Verdict:
    """Undecided if there are too few sizes beside the break."""
    if verdict.shape is None or not too_close_to_the_end(verdict.law):
        return verdict
    other = next(one for one in fits if shape_of(one.law) != verdict.shape)
    text = (
        f"undecided: {verdict.law.law.name} leads {other.law.name} by {other.aicc - verdict.law.aicc:.1f} in AICc, but "
        f"there is a single size on one side of its break, {_SIZES_BESIDE_BREAK} are required"
    )
    return Verdict(None, verdict.law, text)


def _check_lack_of_fit(verdict: Verdict, fits: Sequence[Fit]) -> Verdict:
    """Undecided if the law deviates from the sizes by more than the seeds explain."""
    if verdict.shape is None or not does_not_describe(verdict.law):
        return verdict
    text = (
        f"undecided: {verdict.law.law.name} is the best law, but deviates from the sizes by more than the scatter of "
        "the seeds explains; subsets that all seeds of a size share have this effect, and so has a wrong law"
    )
    return Verdict(None, verdict.law, text)


def _check_predictions(verdict: Verdict, supported: Sequence[Fit], held_out: HoldOut | None) -> Verdict:
    """Follow another law if that of the verdict predicts the largest sizes clearly worse."""
    if held_out is None or verdict.law.law.name not in held_out.errors:
        return verdict
    own = held_out.errors[verdict.law.law.name]
    rivals = [one for one in supported if one.law.name in held_out.errors]
    other = min(rivals, key=lambda one: held_out.errors[one.law.name], default=verdict.law)
    error = held_out.errors[other.law.name]
    if shape_of(other.law) == shape_of(verdict.law.law) or own < _CLEARLY_WORSE * (error + held_out.noise_of_error):
        return verdict
    text = (
        f"undecided: {verdict.law.law.name} is preferred by AICc, but predicts the largest sizes with an error of "
        f"{own:.2g} when it is fitted without them, {other.law.name} with {error:.2g}"
    )
    return Verdict(None, other, text)


def _saturating(floor: Fit, equals: Sequence[Fit], larger: Sequence[Fit]) -> Verdict:
    text = "saturating: a power law with a floor suffices"
    if equals:
        text += f"; it leads {equals[0].law.name} by {equals[0].aicc - floor.aicc:.1f} in AICc"
    near = [one for one in larger if one.aicc - floor.aicc < DECISIVE_AICC]
    if near:
        text += f", and {near[0].law.name} is no better"
    return Verdict("saturating", floor, text)


def _leads(shape: str, first: Fit, second: Fit) -> str:
    return f"{shape}: {first.law.name} leads {second.law.name} by {second.aicc - first.aicc:.1f} in AICc"


def _too_few(larger: Fit, simpler: Fit) -> str:
    return (
        f"undecided: {larger.num_values} sizes are too few to distinguish {larger.law.name} ({larger.theta.size} "
        f"parameters) from {simpler.law.name}; {larger.theta.size + _MIN_FREEDOM} are required"
    )


def _undecided(first: Fit, second: Fit) -> str:
    return (
        f"undecided: {first.law.name} leads {second.law.name} by {second.aicc - first.aicc:.1f} in AICc, "
        f"{DECISIVE_AICC:.0f} are required"
    )
