"""A Kubernetes-compatible API for one machine: real processes as containers, one asyncio process, no Docker.

Run it with ``python -m localcluster --data-dir D --port P``. It knows nothing of Django or of Flotilla's apps.
"""

#: What ``/version`` and every node's kubelet say. The API is that of this Kubernetes release.
KUBERNETES_VERSION = "v1.33.0+localcluster"
