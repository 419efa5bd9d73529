"""What runs must have in common to share a scaling law, and what should be the same in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

_SAME = 1.1
"""Numbers of steps or epochs within this factor count as equal: a last batch that is not full makes a difference."""


def name_of(record: RunRecord) -> str:
    """A run, for messages: two studies may have runs of one name."""
    return f"{record.study + '/' if record.study else ''}{record.name or record.config_hash} (seed {record.seed})"


def groups_of(records: Sequence[RunRecord]) -> tuple[list[str], list[str]]:
    """The group of each record: backbone, head and, where it takes that to tell models apart, their family.

    Returns:
        Groups, in the order of the records, and remarks.
    """
    labels = [f"{record.backbone} / {record.head}" for record in records]
    groups, remarks = list(labels), []
    for label in dict.fromkeys(labels):
        members = [record for record, own in zip(records, labels, strict=True) if own == label]
        known = _sorted_out(members, lambda record: record.family)
        unknown = known.pop("", [])
        if len(known) > 1:
            remarks.append(
                f"{label}: models whose options of backbone, pooling or head differ in more than the width have a law "
                f"each: {_listed(known)}"
            )
            groups = [
                f"{label}, family {record.family[:6] or 'unknown'}" if own == label else group
                for record, own, group in zip(records, labels, groups, strict=True)
            ]
        if unknown and known:
            taken = "to differ from all others" if len(known) > 1 else "to be those of the others"
            remarks.append(
                f"{label}: records of an earlier version do not state the options of the model, which are taken "
                f"{taken}: {_some(unknown)}"
            )
    if len(objectives := _sorted_out(records, _objective)) > 1:
        remarks.append(f"losses of different objectives cannot be compared: {_listed(objectives)}")
    return groups, remarks


def check_mixture(group: str, records: Sequence[RunRecord], metric: str) -> list[str]:
    """Check that runs of a group may share a law of a metric.

    Returns:
        Warnings: differences that may bend the law.

    Raises:
        InputError: The metric means different things in them: another objective, source, or set of evaluated materials.
    """
    evaluated = "test" if metric.startswith("test/") else "validation"
    must_agree: tuple[tuple[str, Callable[[RunRecord], object]], ...] = (
        ("objectives", _objective),
        ("sources of materials", _source),
        (f"{evaluated} sets", lambda record: record.settings.get(evaluated)),
    )
    for what, value in must_agree:
        kinds = _sorted_out(records, value)
        if len(kinds) > 1:
            raise InputError(
                f"{group}: runs with different {what} share no law: {_listed(kinds)}; keep the records of each in a "
                "folder of their own, and give one of the folders"
            )
    remarks = [
        f"{group}: different {what} in one law: {_listed(kinds)}"
        for what, value in _SHOULD_AGREE
        if len(kinds := _sorted_out(records, value)) > 1
    ]
    for size in sorted({record.num_train for record in records}):
        subsets = _sorted_out([record for record in records if record.num_train == size], lambda record: record.subset)
        if len(subsets) > 1:
            remarks.append(f"{group}: different training sets at D = {size:,}: {_listed(subsets)}")
    return [*remarks, *_lengths(group, records)]


def _objective(record: RunRecord) -> str | None:
    return record.objective or None


def _source(record: RunRecord) -> str | None:
    """Where the materials come from: of a store, what it was made from, `X` of `folder (X)`, wherever it lies."""
    stated = record.settings.get("source")
    if stated is None:
        return None
    _, inside, made_from = str(stated).partition(" (")
    return made_from.removesuffix(")") if inside else str(stated)


_SHOULD_AGREE: tuple[tuple[str, Callable[[RunRecord], object]], ...] = (
    ("batch sizes", lambda record: record.settings.get("batch_size")),
    ("optimisers", lambda record: record.settings.get("optimizer")),
    ("studies", lambda record: record.study or "no study"),
)


def _lengths(group: str, records: Sequence[RunRecord]) -> list[str]:
    """Over D, a study may keep the epochs or the steps: one of them."""
    spans = [(min(values), max(values)) for values in ([r.epochs for r in records], [r.steps for r in records])]
    if any(most <= _SAME * least for least, most in spans):
        return []
    (epochs, more_epochs), (steps, more_steps) = spans
    short, long = (choose(records, key=lambda record: record.steps) for choose in (min, max))
    return [
        f"{group}: epochs ({epochs:,} to {more_epochs:,}) and steps ({steps:,} to {more_steps:,}) both differ, so that "
        f"the law tells of the length of training, too: from {name_of(short)} to {name_of(long)}"
    ]


def _sorted_out(records: Sequence[RunRecord], value: Callable[[RunRecord], object]) -> dict[str, list[RunRecord]]:
    """Records by a value; those of which it is not known are left out, but for an empty text."""
    kinds: dict[str, list[RunRecord]] = {}
    for record in records:
        if (own := value(record)) is not None:
            kinds.setdefault(str(own), []).append(record)
    return kinds


def _listed(kinds: dict[str, list[RunRecord]]) -> str:
    return "; ".join(f"{kind} in {_some(members)}" for kind, members in kinds.items())


def _some(records: Sequence[RunRecord]) -> str:
    names = [name_of(record) for record in records]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
