"""From an accepted revision to its Kubernetes Deployment, against the same Deployments updated by the official client.

One local cluster, whose pods only pretend to run, and the processes of Flotilla. A Deployment exists, or is updated,
when a watch tells of it. A revision is accepted when its row is written, before its transaction ends. Both are asked
for one after another, once while the worker sleeps and must be rung, and once while it is at work anyway; the two take
turns.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from kubernetes import client, config

from apps.deployments.manifests import CONTAINER
from benchmarks.figures import Figure, percentile
from benchmarks.spine._stage import Stage, stage, until

COUNT, GOAL_MS = 40, 50.0
# A worker stays awake for a while after it was rung (`worker.AWAKE`): the first pause is longer, the second is not.
PAUSES_S = {"asleep": 1.5, "awake": 0.3, "busy": 0.0}
SPEC = {"image": "busybox", "command": ["serve"], "resources": {"cpu": "10m", "memory": "16Mi"}}


def run() -> Iterator[Figure]:
    """The p50 over the official client's, by what the worker is at."""
    urllib3.disable_warnings()
    with stage() as bench, _watched(bench) as seen:
        peer = _Official(bench)
        names = _deployed(bench)
        for place in range(COUNT):
            peer.create(f"direct-{place}")
        for state, pause in PAUSES_S.items():
            ours: dict[str, int] = {}
            direct: list[float] = []
            for place, name in enumerate(names):
                time.sleep(pause)  # a measured pause
                number = _revise(bench, name, f"{state}-{place}")
                _until_seen(seen, f"{name}-r{number}")
                ours[name] = number
                began = time.time()
                generation = peer.update(f"direct-{place}", f"{state}-{place}")
                direct.append((_until_seen(seen, f"direct-{place}@{generation}") - began) * 1000)
            yield _figure(state, _took(ours, seen), percentile(direct, 50))


def _figure(state: str, took: list[float], floor: float) -> Figure:
    beside = {"p50_ms": percentile(took, 50), "p95_ms": percentile(took, 95), "direct_p50_ms": floor}
    beside = {key: round(value, 1) for key, value in beside.items()} | {"revisions": COUNT}
    over = percentile(took, 50) - floor
    return Figure(f"deployment_p50_over_direct_{state}", over, "ms", GOAL_MS, beside=beside)


def _took(numbers: dict[str, int], seen: dict[str, float]) -> list[float]:
    """The milliseconds of each revision, by the clock that this machine's processes share."""
    from apps.deployments.models import Revision

    rows = Revision.objects.filter(deployment__name__in=numbers).values_list("deployment__name", "number", "created_at")
    accepted = {name: at.timestamp() for name, number, at in rows if numbers[name] == number}
    return [(seen[f"{name}-r{number}"] - accepted[name]) * 1000 for name, number in numbers.items()]


def _deployed(bench: Stage) -> list[str]:
    """The names of as many deployments, all of them Healthy."""
    from apps.deployments import services
    from apps.deployments.models import Deployment

    services.create_target(principal=bench.principal, project=bench.project, name="here", cluster="home")
    names = [f"app-{number}" for number in range(COUNT)]
    for name in names:
        services.create_deployment(
            principal=bench.principal,
            project=bench.project,
            asked=services.NewDeployment(name=name, targets=["here"], replicas=2, spec=SPEC),
        )
    until(lambda: Deployment.objects.filter(health="Healthy").count() == COUNT, "all to be Healthy", timeout=300)
    return names


def _revise(bench: Stage, name: str, word: str) -> int:
    address = f"http://127.0.0.1:{bench.port}/api/v1/deployments/{name}/revisions?project=bench"
    headers = {"Authorization": f"Bearer {bench.token}"}
    answer = requests.post(address, json={"env": {"WORD": word}}, headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["number"])


class _Official:
    """The official client, and what it makes: what Flotilla would apply."""

    def __init__(self, bench: Stage) -> None:
        self._bench = bench
        connection = config.new_client_from_config(str(bench.home.kubeconfig))
        self._apps = client.AppsV1Api(connection)

    def create(self, name: str) -> None:
        """A Deployment as ours, under another name."""
        from apps.deployments import services
        from apps.deployments.models import Deployment

        ours = Deployment.objects.get(name="app-0")
        _, [(_, [made])] = services.preview_revision(
            principal=self._bench.principal, deployment=ours, changes={"image": "other"}
        )
        text = json.dumps(made).replace(made["metadata"]["name"], name).replace("app-0", name)
        self._namespace = str(made["metadata"]["namespace"])
        self._apps.create_namespaced_deployment(self._namespace, json.loads(text))

    def update(self, name: str, word: str) -> int:
        """The change that is asked of ours, in one call. Returns the generation that comes of it."""
        container = {"name": CONTAINER, "env": [{"name": "WORD", "value": word}]}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        return int(self._apps.patch_namespaced_deployment(name, self._namespace, patch).metadata.generation)


@contextmanager
def _watched(bench: Stage) -> Iterator[dict[str, float]]:
    """When a watch told first of each Deployment, by name, and of each of its generations, by "name@generation"."""
    access, seen, ended = bench.home.access, dict[str, float](), threading.Event()
    address = f"{access.server}/apis/apps/v1/deployments?watch=true&timeoutSeconds=3600"
    answer = requests.get(
        address, headers={"Authorization": f"Bearer {access.token}"}, stream=True, verify=False, timeout=(10, 3600)
    )

    def read() -> None:
        try:
            for line in answer.iter_lines(chunk_size=None):  # type: ignore[call-overload]  # as they come
                at = time.time()
                about = json.loads(line)["object"]["metadata"]
                seen.setdefault(about["name"], at)
                seen.setdefault(f"{about['name']}@{about['generation']}", at)
        except (requests.RequestException, AttributeError):
            assert ended.is_set(), "the watch broke off"

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        answer.close()


def _until_seen(seen: dict[str, float], name: str) -> float:
    deadline = time.monotonic() + 60
    while name not in seen:
        assert time.monotonic() < deadline, f"{name} is not there after a minute"
        time.sleep(0.001)
    return seen[name]
