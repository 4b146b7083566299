"""CuMo in numpy, in f64: what the exported graphs must compute, written to be read.

Every weight is an entry of a dict, under its name in a whole checkpoint. `Reference` has the stages.
"""

from .model import Reference

__all__ = ["Reference"]
