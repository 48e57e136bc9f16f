"""What the rows of Jobs tell of their pods."""

from collections.abc import Collection

from django.db.models import Q

from apps.clusters.models import Pod, Workload


def overran(pods: Collection[Pod]) -> set[str]:
    """The uids of the pods whose Job was active for longer than its deadline, whoever made it. One query."""
    by_job: dict[tuple[int, str, str], set[str]] = {}
    for pod in pods:
        if pod.owner_kind == "Job":
            by_job.setdefault((pod.cluster_id, pod.namespace, pod.owner_name), set()).add(pod.uid)
    if not by_job:
        return set()
    # While its pods are still being ended, the reason stands in the words of the condition.
    late = Q(reason="DeadlineExceeded") | Q(reason="FailureTarget", message__icontains="specified deadline")
    rows = Workload.objects.filter(
        late,
        kind="Job",
        cluster__in={cluster for cluster, _, _ in by_job},
        namespace__in={namespace for _, namespace, _ in by_job},
        name__in={name for _, _, name in by_job},
    )
    jobs = rows.values_list("cluster_id", "namespace", "name")
    return {uid for job in jobs for uid in by_job.get(job, ())}
