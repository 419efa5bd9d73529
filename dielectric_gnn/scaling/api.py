"""The public function `fit`: from run records, a CSV file or a data frame to fitted laws, verdicts and figures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from dielectric_gnn.scaling.analysis import FitOptions, GroupAnalysis, analyse, check_choice, check_positive
from dielectric_gnn.scaling.compute import Cost
from dielectric_gnn.scaling.fitting import Fit, Mode
from dielectric_gnn.scaling.laws import CURVES, UNIT_FREE_CURVES, Law, general_broken
from dielectric_gnn.scaling.points import Points, Run, sound_groups
from dielectric_gnn.scaling.reading import Reading, Source, metric_name, read_runs
from dielectric_gnn.scaling.report import fit_rows
from dielectric_gnn.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Axis: TypeAlias = Literal["N", "D", "ND"]
LawName: TypeAlias = Literal["power", "power+floor", "broken", "broken*A"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScalingFits:
    """Fitted scaling laws of all groups of runs.

    Args:
        groups: The results, one per group of runs that share a law.
        metric: Name of the loss.
        remarks: What was left out, what has no effect, and what may distort a law.

    Example:
        >>> import pandas as pd
        >>> from dielectric_gnn import scaling
        >>> sizes = [2500, 5000, 10000, 20000, 40000, 80000, 160000]
        >>> runs = pd.DataFrame({"D": sizes, "loss": [(19000 / size) ** 0.25 for size in sizes]})
        >>> fits = scaling.fit(runs, laws=["power", "power+floor"])
        >>> print(f"{fits.laws['all runs'].parameters['a']:.3f}")
        0.250
    """

    groups: tuple[GroupAnalysis, ...]
    metric: str
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Which shape of law the data support; one line per group if there are several."""
        if len(self.groups) == 1:
            return self.groups[0].verdict
        return "\n".join(f"{group.data.title}: {group.verdict}" for group in self.groups)

    @property
    def laws(self) -> dict[str, Fit]:
        """The law that describes each group best, by the title of the group."""
        return {group.data.title: group.law for group in self.groups}

    def to_dataframe(self) -> pd.DataFrame:
        """One row per group, law and parameter, with intervals and the scores of the law: the columns of `fits.csv`."""
        import pandas as pd

        return pd.DataFrame(fit_rows(self.groups))

    def figure_names(self) -> list[str]:
        """Names of the figures: `scaling_in_D` for groups with a law in D, `map_0` for the first in N and D.

        Of the first group with repeated data, it is `repeats_0`.
        """
        return list(self._figure_groups())

    def figure(self, name: str | None = None) -> Figure:
        """Losses and fitted laws of all groups in one variable, or the map of one group in N and D.

        Args:
            name: One of `figure_names()`; may be left out if there is only one.

        Raises:
            InputError: There is no such figure, or no name was given and there are several.
        """
        from dielectric_gnn.scaling.figures import curves_figure
        from dielectric_gnn.scaling.map_figure import map_figure
        from dielectric_gnn.scaling.repeats_figure import repeats_figure

        figures = self._figure_groups()
        if name is None and len(figures) == 1:
            (name,) = figures
        if name not in figures:
            raise InputError(f"figure {name}: expected one of {', '.join(figures)}")
        groups = figures[name]
        if groups[0].data.has_repeats:
            return repeats_figure(groups[0])
        if groups[0].data.in_both:
            return map_figure(groups[0], self.metric)
        return curves_figure(groups, self.metric)

    def _figure_groups(self) -> dict[str, list[GroupAnalysis]]:
        figures: dict[str, list[GroupAnalysis]] = {}
        for place, group in enumerate(self.groups):
            name = f"map_{place}" if group.data.in_both else f"scaling_in_{group.data.variables[0]}"
            figures.setdefault(f"repeats_{place}" if group.data.has_repeats else name, []).append(group)
        return figures


def fit(
    source: Source,
    *,
    metric: str | None = None,
    axis: Axis | None = None,
    mode: Mode = FitOptions.mode,
    laws: Sequence[LawName] | None = None,
    breaks: int = 0,
    level: float = FitOptions.level,
    draws: int = FitOptions.draws,
    target: Sequence[float] = (),
    budget: Sequence[float] = (),
    flops_per_parameter_and_datum: float | None = None,
    epochs: int | None = None,
    hold_out: int = FitOptions.hold_out,
    column: Sequence[str] = (),
    one_minus: bool = False,
    sensitivity: bool = False,
    checkpoints: bool = False,
    repeats: bool = False,
) -> ScalingFits:
    """Fit neural scaling laws, compare them, and derive what follows from them.

    Remarks on the runs, and groups that are left out, are logged as warnings.

    Args:
        source: A folder, below which every run_record.json is read; a CSV file or a data frame with the columns `loss`,
            `D` or `N` or both or `x`, and if known `seed`, `group`, `run`, `flops`; or run records.
        metric: Metric of run records, such as test/loss; by default best_validation_loss.
        axis: Variables of the law; by default those that vary.
        mode: Method of the fit: `robust` uses ln L of every run, `published` reproduces arXiv:2602.05702.
        laws: Laws in one variable to be compared; by default those whose verdict does not depend on units, power,
            power+floor and broken*A, and in the published mode all four.
        breaks: Also compare the general broken law with this number of breaks, if it is not 0.
        level: Probability of intervals and bands.
        draws: Number of bootstrap draws.
        target: Losses for which the required amount of data, or size of the model, is computed.
        budget: FLOPs of one training for which the best N and D are computed.
        flops_per_parameter_and_datum: Constant C of the cost FLOPs = C N D; by default fitted to the run records.
        epochs: Number of epochs E of the cost C = 6 E, if the runs state no FLOPs; 1 if D counts what was processed.
        hold_out: Number of the largest sizes that are held out and predicted; 0 takes a fifth of them.
        column: Names of columns in a table, each as KNOWN=NAME, such as loss=val_loss.
        one_minus: Fit one minus the metric, for metrics that grow to one, such as an accuracy, r2_* and sc_*.
        sensitivity: Refit the followed law with single choices changed: sizes, robustness, starting points.
        checkpoints: Fit the validation losses within each training against the number of processed materials x.
        repeats: Fit what repeated data are worth: a law in D, epochs, and N if it varies; a table needs the columns
            `D`, of unique data, and `epochs`.

    Returns:
        Verdict, groups, laws, data frame and figures.

    Raises:
        InputError: An option is out of range, the source cannot be read, or no law can be fitted.
    """
    options = FitOptions(
        _laws(laws, breaks),
        mode,
        level,
        draws,
        tuple(target),
        tuple(budget),
        _cost(flops_per_parameter_and_datum),
        epochs,
        hold_out,
        sensitivity,
    )
    check_choice("axis", axis, (None, *get_args(Axis)))
    reading = Reading(metric, _column_names(column), one_minus, checkpoints, repeats)
    runs, remarks = _read(source, reading)
    groups, errors = sound_groups(runs, axis)
    if (laws or breaks) and any(len(data.variables) > 1 for data in groups):
        remarks += _warn(["laws and breaks have no effect on laws in several variables: all of these are compared"])
    analyses, left_out = _analyses(groups, options, errors)
    return ScalingFits(tuple(analyses), metric_name(source, reading), (*remarks, *left_out))


def _column_names(column: Sequence[str]) -> dict[str, str]:
    """Names of columns in the table by known name, from texts such as `loss=val_loss`."""
    pairs = [text.partition("=") for text in column]
    if bad := [known for known, equals, stated in pairs if not (equals and known and stated)]:
        raise InputError(f"column {bad[0]!r}: expected KNOWN=NAME, such as loss=val_loss")
    return {known: stated for known, _, stated in pairs}


def _laws(names: Sequence[str] | None, breaks: int) -> list[Law]:
    """The laws in one variable that are compared."""
    for name in names or ():
        check_choice("laws", name, tuple(CURVES))
    if breaks < 0:
        raise InputError(f"breaks is {breaks}, expected 0 or more")
    if not breaks:
        return [CURVES[name] for name in names or ()]
    return [*([CURVES[name] for name in names] if names else UNIT_FREE_CURVES), general_broken(breaks)]


def _cost(coefficient: float | None) -> Cost | None:
    if coefficient is None:
        return None
    check_positive("flops_per_parameter_and_datum", coefficient)
    return Cost(coefficient)


def _read(source: Source, reading: Reading) -> tuple[list[Run], list[str]]:
    """Runs and remarks, which are logged.

    Raises:
        InputError: There are no runs.
    """
    runs, remarks = read_runs(source, reading)
    _warn(remarks)
    if not runs:
        raise InputError(
            f"none of the {len(remarks)} runs is finished on one set of materials; wait for them, or repeat the "
            "command of the study"
        )
    return runs, remarks


def _analyses(
    groups: Sequence[Points], options: FitOptions, errors: list[InputError]
) -> tuple[list[GroupAnalysis], list[str]]:
    """One analysis per group that can be fitted, and remarks on the others.

    Raises:
        InputError: No group can be fitted.
    """
    analyses: list[GroupAnalysis] = []
    for place, data in enumerate(groups, start=1):
        _log.info("fitting %s (%d of %d)", data.title, place, len(groups))
        try:
            analyses.append(analyse(data, options))
        except InputError as error:
            errors.append(error)
    if not analyses:
        raise errors[0]
    return analyses, _warn([f"left out: {error}" for error in errors])


def _warn(remarks: list[str]) -> list[str]:
    for remark in remarks:
        _log.warning("%s", remark)
    return remarks
