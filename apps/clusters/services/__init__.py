"""Every write to clusters, and the way to talk to one."""

from apps.clusters.services.checking import ask_for_check, check_connection, stamp
from apps.clusters.services.connecting import (
    ca_fingerprint,
    connect,
    connection_of,
    impossible,
    remember_identity,
)
from apps.clusters.services.following import cause_of, follow_state, is_away, silence, why_silent
from apps.clusters.services.labels import clean_folder, clean_labels
from apps.clusters.services.lifecycle import (
    accept_identity,
    all_dependents,
    delete_cluster,
    dependents_of,
    update_cluster,
)
from apps.clusters.services.reaching import ask_for_reach
from apps.clusters.services.registration import (
    ensure_registered,
    register,
    register_in_cluster,
    replace_by_in_cluster,
    replace_credential,
    replace_kubeconfig,
)
from apps.clusters.services.twins import mean_twins

__all__ = [
    "accept_identity",
    "all_dependents",
    "ask_for_check",
    "ask_for_reach",
    "ca_fingerprint",
    "cause_of",
    "check_connection",
    "clean_folder",
    "clean_labels",
    "connect",
    "connection_of",
    "delete_cluster",
    "dependents_of",
    "ensure_registered",
    "follow_state",
    "impossible",
    "is_away",
    "mean_twins",
    "register",
    "register_in_cluster",
    "remember_identity",
    "replace_by_in_cluster",
    "replace_credential",
    "replace_kubeconfig",
    "silence",
    "stamp",
    "update_cluster",
    "why_silent",
]
