"""A look of an analysis at Prometheus: one short HTTP request for each target, outside of any transaction."""

import time
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

import urllib3
from django.conf import settings
from django.utils import timezone

from apps.clusters.connect.addresses import checked_address
from apps.clusters.kube.connection import Connection, tls_context
from apps.clusters.kube.errors import Unreachable
from apps.clusters.kube.failures import unreachable
from apps.core.database import connections
from apps.core.database.transactions import refuse_open_transaction
from apps.core.errors import Conflict, Invalid, Unavailable
from apps.core.secrets import crypto
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, MetricsSource, Placement
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.figures import by_prometheus, silent
from apps.deployments.rollout.promql import Names, Series, Silent, filled_in, series_in

CONNECT_SECONDS, READ_SECONDS = 3.0, 5.0
# All requests of one look together, and what an answer may have.
LOOK_SECONDS = 12.0
MAX_ANSWER_BYTES = 1024 * 1024
API = "/api/v1/query"


def look(run: AnalysisRun, places: Sequence[Placement]) -> Measurement:
    """What the query gives for each target now."""
    source = selectors.source_named(run.rollout.deployment.project_id, run.asked["source"])
    now = timezone.now()
    if source is None:
        return silent(f"There is no metrics source {run.asked['source']} any more.", now)
    end = time.monotonic() + LOOK_SECONDS
    seen: list[tuple[str, Series]] = []
    try:
        queries = {filled_in(run.asked["query"], _names(run, place)): place.target.name for place in places}
        for query, target in queries.items():
            if time.monotonic() > end:
                raise Silent(f"{source.name} answers too slowly to be asked about {len(queries)} targets.")
            seen += [(target if len(queries) > 1 else "", series) for series in ask(source, query)]
    except Silent as why:
        return silent(str(why), now)
    return by_prometheus(run.asked, seen, now)


def _names(run: AnalysisRun, place: Placement) -> Names:
    deployment = run.rollout.deployment
    return Names(
        project=deployment.project.name,
        environment=place.target.environment,
        target=place.target.name,
        cluster=place.target.cluster.name,
        namespace=place.target.namespace,
        deployment=deployment.name,
        revision=run.rollout.to_revision.number,
        earlier=place.stable.number if place.stable else None,
    )


def ask(source: MetricsSource, query: str) -> list[Series]:
    """The values of an instant query. Raises Silent, whose words name no address: everyone in the project reads them.

    The address is checked now, as that of a cluster's API server is, and the checked one is dialled.
    """
    refuse_open_transaction()
    try:
        token = crypto.decrypt(source.token_encrypted).decode() if source.has_token else ""
        address = checked_address(source.address, settings.CLUSTER_ALLOWED_NETWORKS)
    except Invalid as error:
        raise Silent(f"Flotilla may not connect to the address that the name of {source.name} points to.") from error
    except Unavailable as error:
        raise Silent(f"{source.name} can't be asked: the name of its address can't be resolved.") from error
    except Conflict as error:
        raise Silent(f"{source.name} can't be asked: {error.message}") from error
    connection = Connection(source.address, address, ca=source.ca, token=token)
    try:
        status, body = _get(connection, f"{API}?{urlencode({'query': query, 'timeout': f'{READ_SECONDS:g}s'})}")
    except Unreachable as error:
        raise Silent(f"{source.name} can't be asked: {_words(error)}") from error
    return series_in(status, body, source.name)


def _get(connection: Connection, path: str) -> tuple[int, bytes]:
    """Status and body. Follows no redirect and repeats nothing. Raises Unreachable."""
    connections.let_go()
    end = time.monotonic() + CONNECT_SECONDS + READ_SECONDS
    try:
        with _pool(connection) as pool:
            answer = pool.request(
                "GET",
                connection.base_path + path,
                headers=connection.headers(),
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
            body = bytearray()
            while part := answer.read1(1 << 16, decode_content=True):
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise Unreachable(0, "AnswerTooLarge", "Its answer is too large.")
                if time.monotonic() > end:
                    raise Unreachable(0, "Timeout", "It did not answer in time.")
            return answer.status, bytes(body)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(error, connection) from error


def _pool(connection: Connection) -> urllib3.HTTPConnectionPool:
    """A pool for one request to the checked address: certificates are held against the name all the same."""
    if urlsplit(connection.server).scheme == "http":
        port = urlsplit(connection.server).port or 80
        return urllib3.HTTPConnectionPool(connection.address, port)
    return urllib3.HTTPSConnectionPool(
        connection.address,
        connection.port,
        ssl_context=tls_context(connection),
        server_hostname=connection.host,
        assert_hostname=connection.host,
    )


_SAID = {
    "ConnectionRefused": "nothing listens at its address.",
    "Timeout": "it did not answer in time.",
    "CertificateInvalid": "its certificate is not trusted. Make it anew with the CA that signed it.",
    "PlainHttp": "it answers in plain HTTP. Make it anew with an http address.",
    "TLSFailed": "the TLS handshake failed. Does it take https on that port?",
    "AnswerTooLarge": f"its answer is larger than {MAX_ANSWER_BYTES // 1024} KiB.",
    "BadCertificate": "its CA can't be read. Make it anew with another.",
}


def _words(error: Unreachable) -> str:
    """Why, in words that name no address."""
    return _SAID.get(error.reason, "the connection failed.")
