"""Verdict: which shape of law the data support, or that they are undecided.

Laws are compared by AICc. A power law is a special case of every other law, and a law in N and D without a break is one
of that with a break.

1. The simpler law is kept unless a larger one leads by `DECISIVE_AICC`; a lead of `_SUGGESTIVE_AICC` is no decision.
2. The simpler law is not kept if n − k − 1 of the larger law is below `_MIN_AICC_DENOMINATOR`: its penalty then
   outweighs any improvement of the fit.
3. Once the simple law is ruled out, a floor and a break with as many parameters are compared as equals: one must lead
   the other by `DECISIVE_AICC`.
4. A broken law with more parameters (an amplitude) can imitate a floor. The floor is kept unless that law is better, by
   `DECISIVE_AICC` if its break lies outside the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import Law

DECISIVE_AICC = 6.0
"""Lead in AICc that rules out the other law."""
_SUGGESTIVE_AICC = 2.0
"""Lead in AICc of a larger law from which on the simple one is no longer said to suffice."""
_MIN_AICC_DENOMINATOR = 4
"""Smallest n − k − 1 of a law that can be ruled out."""
_SHAPES = {"power": "power", "power+floor": "saturating", "kaplan": "unbroken", "hoffmann": "unbroken"}
_SIMPLE = {"power": "a power law suffices; no floor and no break is", "unbroken": "no break in D is"}


@dataclass(frozen=True)
class Verdict:
    """Result of the comparison.

    Args:
        shape: `power`, `saturating` or `broken`, in N and D `unbroken` or `broken`; None if undecided.
        law: The fit of lowest AICc, of that shape if there is one.
        text: The verdict in a sentence.
    """

    shape: str | None
    law: Fit
    text: str


def shape_of(law: Law) -> str:
    """Shape of a law: `power`, `saturating`, `unbroken` or `broken`; the verdict distinguishes shapes only."""
    return _SHAPES.get(law.name, "broken")


def breaks_inside(fitted: Fit) -> bool:
    """Whether a break of the law lies within the range of the runs."""
    sizes = fitted.points.sizes[:, -1]
    return any(sizes.min() <= fitted.parameters[name] <= sizes.max() for name in fitted.law.breaks)


def decide(fits: Sequence[Fit]) -> Verdict:
    """The verdict on fits of several laws.

    Args:
        fits: Fits to the same runs, lowest AICc first.
    """
    shapes: dict[str, list[Fit]] = {}
    for one in fits:
        shapes.setdefault(shape_of(one.law), []).append(one)
    if len(shapes) == 1:
        text = f"undecided: only laws of one shape ({shape_of(fits[0].law)}) were fitted"
        return Verdict(None, fits[0], text)
    simple = next((shapes[shape][0] for shape in _SIMPLE if shape in shapes), None)
    if simple is not None:
        rival = next(one for one in fits if shape_of(one.law) != shape_of(simple.law))
        if simple.aicc - rival.aicc < DECISIVE_AICC:
            return _decide_on_simple(simple, rival, shapes)
    curved = [one for one in fits if simple is None or shape_of(one.law) != shape_of(simple.law)]
    return _decide_on_curved(fits, curved, shapes)


def _decide_on_simple(simple: Fit, rival: Fit, shapes: dict[str, list[Fit]]) -> Verdict:
    """Verdict if the simple law is not ruled out."""
    shape = shape_of(simple.law)
    lead = simple.aicc - rival.aicc
    for others in (group for name, group in shapes.items() if name != shape):
        most = max(others, key=lambda one: one.aicc_denominator)
        if most.aicc_denominator < _MIN_AICC_DENOMINATOR:
            return Verdict(None, min(simple, rival, key=lambda one: one.aicc), _too_few(most, simple))
    if lead >= _SUGGESTIVE_AICC:
        return Verdict(None, rival, _undecided(rival, simple))
    first, second = (rival, simple) if lead > 0 else (simple, rival)
    relation = f"{first.law.name} leads {second.law.name} by {abs(lead):.1f}"
    return Verdict(shape, simple, f"{shape}: {_SIMPLE[shape]} seen in these data ({relation} in AICc)")


def _decide_on_curved(fits: Sequence[Fit], curved: Sequence[Fit], shapes: dict[str, list[Fit]]) -> Verdict:
    """Verdict if the simple law is ruled out or was not fitted."""
    floor, broken = (shapes[name][0] if name in shapes else None for name in ("saturating", "broken"))
    first = curved[0]
    if floor is not None and broken is not None:
        larger = [one for one in shapes["broken"] if one.theta.size > floor.theta.size]
        equals = [one for one in fits if one is not floor and one not in larger]
        suffices = all(
            floor.aicc - one.aicc < (_SUGGESTIVE_AICC if breaks_inside(one) else DECISIVE_AICC) for one in larger
        )
        if suffices and all(one.aicc - floor.aicc >= DECISIVE_AICC for one in equals):
            most = max(larger, key=lambda one: one.aicc_denominator, default=None)
            if most is not None and most.aicc_denominator < _MIN_AICC_DENOMINATOR:
                return Verdict(None, first, _too_few(most, floor))
            return _saturating(floor, equals, larger)
        if floor.aicc - broken.aicc < DECISIVE_AICC:
            second = next(one for one in curved if shape_of(one.law) != shape_of(first.law))
            return Verdict(None, first, _undecided(first, second))
    shape = shape_of(first.law)
    others = [one for one in fits if shape_of(one.law) != shape]
    return Verdict(shape, first, _leads(shape, first, others[0]))


def _saturating(floor: Fit, equals: Sequence[Fit], larger: Sequence[Fit]) -> Verdict:
    text = "saturating: a power law with a floor suffices"
    if equals:
        text += f"; it leads {equals[0].law.name} by {equals[0].aicc - floor.aicc:.1f} in AICc"
    near = [one for one in larger if one.aicc - floor.aicc < DECISIVE_AICC]
    if near:
        where = "inside" if breaks_inside(near[0]) else "outside"
        text += f", and {near[0].law.name}, with its break {where} the runs, is no better"
    return Verdict("saturating", floor, text)


def _leads(shape: str, first: Fit, second: Fit) -> str:
    return f"{shape}: {first.law.name} leads {second.law.name} by {second.aicc - first.aicc:.1f} in AICc"


def _too_few(larger: Fit, simpler: Fit) -> str:
    return (
        f"undecided: {larger.problem.y.size} values are too few to distinguish {larger.law.name} ({larger.theta.size} "
        f"parameters) from {simpler.law.name}; {larger.theta.size + 1 + _MIN_AICC_DENOMINATOR} are required"
    )


def _undecided(first: Fit, second: Fit) -> str:
    return (
        f"undecided: {first.law.name} leads {second.law.name} by {second.aicc - first.aicc:.1f} in AICc, "
        f"{DECISIVE_AICC:.0f} are required"
    )
