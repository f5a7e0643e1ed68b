"""One function a figure: plain arrays in, a matplotlib Figure out, all in one style."""

from paperlib.companion.figures.diagrams import centroid_groups, diagram_shares, diagram_sheet, small_network
from paperlib.companion.figures.interactions import interactions
from paperlib.companion.figures.networks import optimizers, overview, trained_ensemble
from paperlib.companion.figures.one_potential import one_potential
from paperlib.companion.figures.performance import derivative_costs, growth, reach, speed_ratios
from paperlib.companion.figures.perturbation import (
    beyond_the_radius,
    iterations,
    leading_order,
    learned_tensors,
    local_interpretation,
    machine_learned_born,
    protocols,
    taylor_against_born,
)
from paperlib.companion.figures.physics import born_approximations, born_tensors, lost_digits, potentials_and_waves
from paperlib.companion.figures.style import STYLE

__all__ = [
    "STYLE",
    "beyond_the_radius",
    "born_approximations",
    "born_tensors",
    "centroid_groups",
    "derivative_costs",
    "diagram_shares",
    "diagram_sheet",
    "growth",
    "interactions",
    "iterations",
    "leading_order",
    "learned_tensors",
    "local_interpretation",
    "lost_digits",
    "machine_learned_born",
    "one_potential",
    "optimizers",
    "overview",
    "potentials_and_waves",
    "protocols",
    "reach",
    "small_network",
    "speed_ratios",
    "taylor_against_born",
    "trained_ensemble",
]
