"""Which shape of law do the data choose, and do they choose at all?

A power law is a case of every other law, as a law in N and D without a break is one of that with a break. The simpler
is kept unless the larger is better by six in AICc; nearly so is no decision. It is not kept either where the larger had
no chance: with n − k − 1 below four its penalty outweighs any fit. Once the simple law is ruled out, a floor and a
break with as many parameters are compared as equals: one must lead the other by six. A broken law with more (an
amplitude) flattens as a floor does; the floor is kept unless that law is better, by six if its break is outside the
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import Law

DECISIVE = 6.0
"""AICc by which a law must lead."""
_HINT = 2.0
"""AICc by which a larger law may lead a simple one that suffices."""
_FREEDOM = 4
"""n − k − 1 that a law must have to be ruled out."""
_SHAPES = {"power": "power", "power+floor": "saturating", "kaplan": "unbroken", "hoffmann": "unbroken"}
_SIMPLE = {"power": "a power law suffices; no floor and no break is", "unbroken": "no break in D is"}


@dataclass(frozen=True)
class Verdict:
    """What the data decide.

    Args:
        shape: `power`, `saturating` or `broken`, in N and D `unbroken` or `broken`; None if they do not decide.
        law: The fit of lowest AICc, of that shape if there is one.
        text: In a sentence.
    """

    shape: str | None
    law: Fit
    text: str


def shape_of(law: Law) -> str:
    """Laws of one shape are told apart by their numbers, not by the verdict."""
    return _SHAPES.get(law.name, "broken")


def breaks_inside(fitted: Fit) -> bool:
    """Whether a break lies within the sizes of the runs."""
    sizes = fitted.points.sizes[:, -1]
    return any(sizes.min() <= fitted.parameters[name] <= sizes.max() for name in fitted.law.breaks)


def decide(fits: Sequence[Fit]) -> Verdict:
    """The verdict on fits of several laws, best AICc first."""
    shapes: dict[str, list[Fit]] = {}
    for one in fits:
        shapes.setdefault(shape_of(one.law), []).append(one)
    if len(shapes) == 1:
        text = f"the data do not decide: only laws of one shape ({shape_of(fits[0].law)}) were fitted"
        return Verdict(None, fits[0], text)
    simple = next((shapes[shape][0] for shape in _SIMPLE if shape in shapes), None)
    if simple is not None:
        rival = next(one for one in fits if shape_of(one.law) != shape_of(simple.law))
        if simple.aicc - rival.aicc < DECISIVE:
            return _on_simple(simple, rival, shapes)
    curved = [one for one in fits if simple is None or shape_of(one.law) != shape_of(simple.law)]
    return _on_curved(fits, curved, shapes)


def _on_simple(simple: Fit, rival: Fit, shapes: dict[str, list[Fit]]) -> Verdict:
    """The simple law is not ruled out: does it suffice?"""
    shape = shape_of(simple.law)
    lead = simple.aicc - rival.aicc
    for others in (group for name, group in shapes.items() if name != shape):
        most = max(others, key=lambda one: one.freedom)
        if most.freedom < _FREEDOM:
            return Verdict(None, min(simple, rival, key=lambda one: one.aicc), _too_few(most, simple))
    if lead >= _HINT:
        return Verdict(None, rival, _undecided(rival, simple))
    first, second = (rival, simple) if lead > 0 else (simple, rival)
    relation = f"{first.law.name} leads {second.law.name} by {abs(lead):.1f}"
    return Verdict(shape, simple, f"{shape}: {_SIMPLE[shape]} seen in these data ({relation} in AICc)")


def _on_curved(fits: Sequence[Fit], curved: Sequence[Fit], shapes: dict[str, list[Fit]]) -> Verdict:
    """The simple law is ruled out, or was not asked for."""
    floor, broken = (shapes[name][0] if name in shapes else None for name in ("saturating", "broken"))
    first = curved[0]
    if floor is not None and broken is not None:
        larger = [one for one in shapes["broken"] if one.theta.size > floor.theta.size]
        equals = [one for one in fits if one is not floor and one not in larger]
        suffices = all(floor.aicc - one.aicc < (_HINT if breaks_inside(one) else DECISIVE) for one in larger)
        if suffices and all(one.aicc - floor.aicc >= DECISIVE for one in equals):
            most = max(larger, key=lambda one: one.freedom, default=None)
            if most is not None and most.freedom < _FREEDOM:
                return Verdict(None, first, _too_few(most, floor))
            return _saturating(floor, equals, larger)
        if floor.aicc - broken.aicc < DECISIVE:
            second = next(one for one in curved if shape_of(one.law) != shape_of(first.law))
            return Verdict(None, first, _undecided(first, second))
    shape = shape_of(first.law)
    others = [one for one in fits if shape_of(one.law) != shape]
    return Verdict(shape, first, _leads(shape, first, others[0]))


def _saturating(floor: Fit, equals: Sequence[Fit], larger: Sequence[Fit]) -> Verdict:
    text = "saturating: a power law with a floor suffices"
    if equals:
        text += f"; it leads {equals[0].law.name} by {equals[0].aicc - floor.aicc:.1f} in AICc"
    near = [one for one in larger if one.aicc - floor.aicc < DECISIVE]
    if near:
        where = "inside" if breaks_inside(near[0]) else "outside"
        text += f", and {near[0].law.name}, with its break {where} the runs, is no better"
    return Verdict("saturating", floor, text)


def _leads(shape: str, first: Fit, second: Fit) -> str:
    return f"{shape}: {first.law.name} leads {second.law.name} by {second.aicc - first.aicc:.1f} in AICc"


def _too_few(larger: Fit, simpler: Fit) -> str:
    return (
        f"the data do not decide: {larger.problem.y.size} values are too few to tell {larger.law.name} "
        f"({larger.theta.size} parameters) from {simpler.law.name}; {larger.theta.size + 1 + _FREEDOM} are asked for"
    )


def _undecided(first: Fit, second: Fit) -> str:
    return (
        f"the data do not decide: {first.law.name} leads {second.law.name} by {second.aicc - first.aicc:.1f} in AICc, "
        f"and {DECISIVE:.0f} are asked for"
    )
