"""Which run records share a scaling law: they are grouped by model, and checked for differences that distort a law."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dielectric_gnn.scaling.points import shortened
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

_EQUAL_LENGTH_FACTOR = 1.1
"""Numbers of steps or epochs within this factor count as equal: an incomplete last batch changes them slightly."""


def run_name(record: RunRecord) -> str:
    """Name of a run for messages, with its study, because two studies may have runs of one name."""
    return f"{record.study + '/' if record.study else ''}{record.name or record.config_hash} (seed {record.seed})"


def group_records(records: Sequence[RunRecord]) -> tuple[list[str], list[str]]:
    """The group of each record: backbone, head and, where these have several families of options, the family.

    Returns:
        Groups, in the order of the records, and remarks.
    """
    labels = [f"{record.backbone} / {record.head}" for record in records]
    groups, remarks = list(labels), []
    for label in dict.fromkeys(labels):
        members = [record for record, own in zip(records, labels, strict=True) if own == label]
        families = _by_value(members, lambda record: record.family)
        unknown = families.pop("", [])
        if len(families) > 1:
            remarks.append(
                f"{label}: models whose options of backbone, pooling or head differ in more than the width get a law "
                f"each: {_describe(families)}"
            )
            groups = [
                f"{label}, family {record.family[:6] or 'unknown'}" if own == label else group
                for record, own, group in zip(records, labels, groups, strict=True)
            ]
        if unknown and families:
            assumed = "to differ from all others" if len(families) > 1 else "to be those of the others"
            remarks.append(
                f"{label}: records of an earlier version do not state the options of the model, which are assumed "
                f"{assumed}: {_names(unknown)}"
            )
    if len(objectives := _by_value(records, _objective)) > 1:
        remarks.append(f"losses of different objectives cannot be compared: {_describe(objectives)}")
    return groups, remarks


def check_compatible(group: str, records: Sequence[RunRecord], metric: str, varied_length: bool = False) -> list[str]:
    """Check that the runs of a group can share a scaling law of a metric.

    Args:
        group: Name of the group.
        records: Its runs.
        metric: The metric.
        varied_length: Whether the epochs are a variable of the law.

    Returns:
        Remarks: differences that may distort the law.

    Raises:
        InputError: The metric is not comparable between them: they differ in objective, source, or evaluated materials.
    """
    evaluated = "test" if metric.startswith("test/") else "validation"
    must_agree: tuple[tuple[str, Callable[[RunRecord], object]], ...] = (
        ("objectives", _objective),
        ("sources of materials", _source),
        (f"{evaluated} sets", lambda record: record.settings.get(evaluated)),
    )
    for what, value in must_agree:
        by_value = _by_value(records, value)
        if len(by_value) > 1:
            raise InputError(
                f"{group}: runs with different {what} cannot share a law: {_describe(by_value)}; keep the records of "
                "each in a separate folder, and give one of the folders"
            )
    remarks = [
        f"{group}: different {what} in one law: {_describe(by_value)}"
        for what, value in _SHOULD_AGREE
        if len(by_value := _by_value(records, value)) > 1
    ]
    for size in sorted({record.num_train for record in records}):
        members = [record for record in records if record.num_train == size]
        subsets = _by_value(members, lambda record: record.subset)
        if len(subsets) > len(_by_value(members, _subset_seed) or [1]):
            remarks.append(f"{group}: different training sets at D = {size:,}: {_describe(subsets)}")
    return remarks if varied_length else [*remarks, *_lengths(group, records)]


def _subset_seed(record: RunRecord) -> object:
    """Seed of the training subset; None in records of an earlier version."""
    return record.settings.get("subset_seed")


def _objective(record: RunRecord) -> str | None:
    return record.objective or None


def _source(record: RunRecord) -> str | None:
    """Where the materials come from; for a store, `X` of `folder (X)`: the source that it was built from."""
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
    """A remark if neither the number of epochs nor that of steps is the same in all runs."""
    spans = [(min(values), max(values)) for values in ([r.epochs for r in records], [r.steps for r in records])]
    if any(most <= _EQUAL_LENGTH_FACTOR * least for least, most in spans):
        return []
    (least_epochs, most_epochs), (least_steps, most_steps) = spans
    shortest, longest = (choose(records, key=lambda record: record.steps) for choose in (min, max))
    return [
        f"{group}: epochs ({least_epochs:,} to {most_epochs:,}) and steps ({least_steps:,} to {most_steps:,}) "
        f"both differ, so that the law also reflects the length of training: from {run_name(shortest)} to "
        f"{run_name(longest)}"
    ]


def _by_value(records: Sequence[RunRecord], value: Callable[[RunRecord], object]) -> dict[str, list[RunRecord]]:
    """Records by a value; records for which it is None are left out."""
    by_value: dict[str, list[RunRecord]] = {}
    for record in records:
        if (own := value(record)) is not None:
            by_value.setdefault(str(own), []).append(record)
    return by_value


def _describe(by_value: dict[str, list[RunRecord]]) -> str:
    return "; ".join(f"{kind} in {_names(members)}" for kind, members in by_value.items())


def _names(records: Sequence[RunRecord]) -> str:
    return shortened([run_name(record) for record in records], most=3)
