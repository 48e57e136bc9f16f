"""The official client's `ApiClient`: we use the part that sends a request, and put in what it lacks.

It reads certificates from files at each connection, so that a client's key would lie on the disk; it knows no address
that is dialled while the certificate is checked for a name, and no bound on the head of an answer. All of that is in
the pool of connections that it is given here.

Its import takes a third of a second and 14 MB. Only a process that makes a client pays for it: each worker, and a web
process once somebody reads a log there.
"""

import threading
from typing import Any

import urllib3

from apps.clusters.kube.connection import Connection, tls_context
from apps.clusters.kube.heads import BoundedPool

# Requests of one process to one cluster that keep their connection for the next.
POOL_SIZE = 16
# The package's modules import each other in circles: threads that do so at the same time deadlock, and find half of it.
_importing = threading.Lock()


def api_client(connection: Connection) -> Any:
    """An `ApiClient` that dials the checked address alone, and never retries.

    Raises Unreachable when OpenSSL can't read the CA or the client certificate.
    """
    pool = urllib3.PoolManager(
        num_pools=1,
        maxsize=POOL_SIZE,
        # False, unlike 0, also hands a redirect back instead of following it or raising.
        retries=False,
        ssl_context=tls_context(connection),
        # The name that the certificate must have although the URL holds an IP.
        server_hostname=connection.expected_name,
    )
    pool.pool_classes_by_scheme = {"https": BoundedPool}
    with _importing:
        from kubernetes.client import ApiClient, Configuration
    # No proxy out of the environment: it would dial another address than the checked one.
    client = ApiClient(Configuration(host=connection.pinned_url, retries=False, proxy="", no_proxy="*"))
    client.rest_client.pool_manager = pool
    client.set_default_header("User-Agent", "flotilla")
    return client


def failures() -> tuple[type[Exception], ...]:
    """The exceptions of a request that got no answer; call it after the first `api_client`."""
    from kubernetes.client import ApiException

    return urllib3.exceptions.HTTPError, OSError, ApiException
