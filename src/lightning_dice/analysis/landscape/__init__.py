"""Draws the loss around trained weights, and the paths that led there, from plain arrays.

What is drawn was computed elsewhere, where torch is; here are pictures, tables and words. Surfaces
that can be turned need plotly, the extra ``landscape``.
"""

from lightning_dice.analysis.landscape.data import Landscape, Line, Member, Path, Plane, Slice

__all__ = ["Landscape", "Line", "Member", "Path", "Plane", "Slice"]
