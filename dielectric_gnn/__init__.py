"""Learn the optical response of crystals: dielectric function and Drude frequency from structure alone."""

__version__ = "0.1.0"
