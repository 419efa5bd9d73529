"""Atomic units in those of this package."""

HARTREE_EV = 27.211386245988
"""CODATA 2018."""

BOHR_ANGSTROM = 0.529177210903
"""CODATA 2018."""
