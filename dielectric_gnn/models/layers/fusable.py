"""Layers that exist in two forms: the plain one, which reads as the formula, and a faster one in `models.fused`."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from torch import nn

from dielectric_gnn.utils.errors import InputError

FusedOption: TypeAlias = Literal["auto", "off", False]
"""`auto`: the fused forms; `off`: the plain forms, to read and to step through. Both are the same function.

YAML reads an unquoted `off` as false, which therefore means the same.
"""


class Fusable(nn.Module):
    """A module with a plain and a fused form, which have the same parameters, outputs and gradients."""

    fused: bool = True


def set_fused(module: nn.Module, option: FusedOption) -> None:
    """Choose the form of a module and of everything in it.

    Raises:
        InputError: The option is neither `auto` nor `off`.
    """
    if option not in get_args(FusedOption):
        raise InputError(f"{type(module).__name__}: fused is {option!r}, expected auto or off")
    for part in module.modules():
        if isinstance(part, Fusable):
            part.fused = option == "auto"
