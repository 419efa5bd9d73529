"""Ensembles: the mean response of several trained models, with its standard deviation as uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.targets.irreducible import root_mean_square
from dielectric_gnn.targets.response import Anisotropy, Response
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.utils.errors import InputError


class Ensemble(ResponseModule):
    """Averages the responses of its members (arXiv:2602.05702 averages three seeds).

    The uncertainty is the sample standard deviation over the members, of every point of the spectrum and of ω_D. For
    tensors, ε and R, the root of ω_D², are averaged, and ω_D follows from the mean R. If all members were trained on
    orientation averages only, their R is undetermined, and ω_D itself is averaged.

    Args:
        members: At least two models with the same outputs, grid and cutoff, trained on spectra of one broadening.

    Raises:
        InputError: There are fewer than two, or they do not fit together.
    """

    def __init__(self, members: Sequence[ResponseModule]) -> None:
        if len(members) < 2:
            raise InputError(f"an ensemble of {len(members)} has no standard deviation; give at least two checkpoints")
        first = members[0]
        for member in members[1:]:
            for name in ("outputs", "grid", "cutoff", "tensorial"):
                if getattr(member, name) != getattr(first, name):
                    raise InputError(
                        f"members of an ensemble must agree in {name}, but one has {getattr(first, name)} and another "
                        f"{getattr(member, name)}"
                    )
            broadenings = [
                model.training_statistics.broadening if model.training_statistics else None for model in (first, member)
            ]
            if broadenings[0] != broadenings[1]:
                raise InputError(f"members of an ensemble were trained on spectra of {broadenings} eV broadening")
        super().__init__(first.grid, first.objective, first.outputs, first.cutoff, first.tensorial, first.definitions)
        self.members = nn.ModuleList(members)
        self.training_statistics = first.training_statistics
        self.has_tensors = first.tensorial and _all_trained_on_tensors(members)

    @property
    def supports_orbits(self) -> bool:
        """Whether all members do."""
        return all(member.supports_orbits for member in self.members)

    def forward(self, graph: CrystalGraph) -> Response:
        """Mean response of every material of the batch, with the standard deviation over the members."""
        responses = [member(graph) for member in self.members]
        eps_inter = torch.stack([response.eps_inter for response in responses])
        drude = torch.stack([response.drude for response in responses])
        std = Response(eps_inter.std(0), drude.std(0))
        mean, anisotropy = drude.mean(0), _mean_anisotropy(responses)
        if anisotropy is not None and self.has_tensors:
            mean = root_mean_square(anisotropy.drude[:, 0], anisotropy.drude[:, 1:])
        return Response(eps_inter.mean(0), mean, std, anisotropy)


def _all_trained_on_tensors(members: Sequence[ResponseModule]) -> bool:
    """Whether the members were trained on tensors.

    Raises:
        InputError: Some were, and others on averages only, whose predicted tensors are undetermined.
    """
    without = [
        place
        for place, one in enumerate(members, 1)
        if one.training_statistics is None or one.training_statistics.num_tensors == 0
    ]
    if 0 < len(without) < len(members):
        raise InputError(
            f"of the {len(members)} members of the ensemble, number {', '.join(map(str, without))} (in the order "
            "given) were trained on averages only and the others on tensors, so their mean tensor is undetermined; "
            "leave out one of the two kinds"
        )
    return not without


def _mean_anisotropy(responses: Sequence[Response]) -> Anisotropy | None:
    parts = [response.anisotropy for response in responses if response.anisotropy is not None]
    if not parts:
        return None
    eps_inter = torch.stack([part.eps_inter for part in parts]).mean(0)
    return Anisotropy(eps_inter, torch.stack([part.drude for part in parts]).mean(0), parts[0].component_mask)
