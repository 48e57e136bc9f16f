"""Many who read logs of a cluster that hangs hold up nobody else: on a real web process with a small pool."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.test import Client

from apps.clusters import services, turns
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.errors import Unavailable
from apps.core.models import User
from tests import factories
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi
from tests.webprocess import web_process


@pytest.fixture
def web(transactional_db: None) -> Iterator[str]:
    with web_process(FLOTILLA_DB_POOL_SIZE="2") as address:
        yield address


@pytest.mark.real_process
def test_logs_of_a_cluster_that_hangs_hold_up_no_page(web: str, api: FakeApi) -> None:
    boss = User.objects.create_superuser("boss")
    cluster = services.register(principal=Principal(user=boss), name="hangs", kubeconfig_text=api.kubeconfig)
    Cluster.objects.update(state="Healthy")
    pod = factories.pod(cluster, None, status={"containers": [{"name": "main", "state": {"running": {}}}]})
    browser = Client()
    browser.force_login(boss)
    cookies = {"sessionid": browser.cookies["sessionid"].value}
    log = f"{web}/clusters/hangs/pods/{pod.namespace}/{pod.name}/log/"
    with ThreadPoolExecutor(4) as readers:
        # Nothing answers any more, and nobody knows it yet.
        api.hold_answers, begun = True, len(api.requests)
        followers = [readers.submit(requests.get, log, cookies=cookies, timeout=30) for _ in range(4)]
        eventually(lambda: len(api.requests) >= begun + 4, "all four wait for the cluster")
        asked = time.monotonic()
        page = requests.get(f"{web}/clusters/", cookies=cookies, timeout=30)
        assert page.status_code == 200 and not any(follower.done() for follower in followers)
        assert time.monotonic() - asked < 5, "it waited for a connection that a follower held"
        api.hold_answers = False
        for follower in followers:
            assert "X-Log-Note" in follower.result().headers


def test_turns_are_few_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(turns, "DOWNLOAD_SECONDS", 0.0)
    for download, most in ((False, turns.LOOKS), (True, turns.DOWNLOADS)):
        held = [turns.turn(-1, download=download) for _ in range(most)]
        for one in held:
            one.__enter__()
        with pytest.raises(Unavailable, match="try again"), turns.turn(-1, download=download):
            pass
        if not download:
            with turns.turn(-2):
                pass  # another cluster's are its own
        for one in held:
            one.__exit__(None, None, None)
        with turns.turn(-1, download=download):
            pass
