"""Where something fits: (what is asked, clusters as they are known) → the clusters in order, each with its reason.

Runs and deployments ask the same. A pod gets its room on one node, so room is counted node by node: two halves of a
GPU node that are free on different nodes are not one. Pure.
"""

from apps.clusters.fit.asks import Ask, Prefer, Wish, parse_selector
from apps.clusters.fit.nodes import places_for
from apps.clusters.fit.ranking import Candidate, Judged, Ranking, rank
from apps.clusters.fit.several import Picked, Taken, pick

__all__ = [
    "Ask",
    "Candidate",
    "Judged",
    "Picked",
    "Prefer",
    "Ranking",
    "Taken",
    "Wish",
    "parse_selector",
    "pick",
    "places_for",
    "rank",
]
