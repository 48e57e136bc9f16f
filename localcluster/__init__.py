"""A Kubernetes-compatible API for one machine: real processes as containers, one asyncio process, no Docker.

Run it with ``python -m localcluster --data-dir D --port P``. It knows nothing of Django or of Flotilla's apps.

From the bottom up: ``store`` keeps objects in memory and in SQLite; ``registry`` adds the API server's rules and is
what ``controllers``, ``scheduler`` and ``kubelet`` work on; ``api`` serves it by HTTP; ``server`` puts it all together.

Features of a real cluster that this one lacks: StatefulSets, DaemonSets, CronJobs, preemption, volumes other than
configuration and scratch space, exec, attach and port-forward, DNS, and any isolation between containers.
docs/localcluster.md has the rest.
"""

#: The Kubernetes release whose API this is: its definitions, its rules, and what ``/version`` and kubelets say.
KUBERNETES_MINOR = "1.33"
KUBERNETES_VERSION = f"v{KUBERNETES_MINOR}.0+localcluster"
