"""The official client is imported by who calls a cluster, and by nobody else.

That many threads make a first client at once is in `test_slow_clusters`: unless one imports for all, they deadlock.
"""

import os
import subprocess
import sys

# All that a process loads: its commands, its pages and endpoints, the worker's rounds, the watcher.
_EVERYTHING = """
import sys
import django
django.setup()
from django.core.management import get_commands, load_command_class
for name, app in get_commands().items():
    load_command_class(app, name)
import apps.clusters.watcher.supervisor, controlplane.asgi, controlplane.celery, controlplane.urls
import apps.clusters.admin, apps.deployments.reconcile, apps.experiments.reconcile
controlplane.celery.app.loader.import_default_modules()
assert "kubernetes" not in sys.modules, "imported by who has called no cluster"

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
KubeClient(Connection("https://127.0.0.1:1", "127.0.0.1"))
assert "kubernetes.client" in sys.modules
assert "kubernetes.client.models.v1_pod" not in sys.modules, "its models are of no use here"
"""


def test_only_who_calls_a_cluster_imports_it() -> None:
    command = [sys.executable, "-W", "ignore", "-c", _EVERYTHING]
    ran = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr[-3000:]
