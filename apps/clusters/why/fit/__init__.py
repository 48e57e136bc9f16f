"""Where something fits: (what is asked, clusters as they are known) → the clusters in order, each with its reason.

Runs and deployments ask the same. A pod gets its room on one node, so room is counted node by node: two halves of a
GPU node that are free on different nodes are not one. Pure.
"""

from apps.clusters.why.fit.asks import Ask, Prefer, Wish, parse_selector
from apps.clusters.why.fit.nodes import places_for
from apps.clusters.why.fit.ranking import Candidate, Judged, Ranking, rank

__all__ = ["Ask", "Candidate", "Judged", "Prefer", "Ranking", "Wish", "parse_selector", "places_for", "rank"]
