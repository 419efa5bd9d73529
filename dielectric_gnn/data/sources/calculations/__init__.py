"""What first-principles codes write, one module for each code."""

from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.source import Calculations

__all__ = ["Calculation", "Calculations"]
