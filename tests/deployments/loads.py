"""A steady load on a deployment: which revisions answer, and what fails."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from apps.deployments.models import Rollout
from tests.deployments.fleet import BODY, Fleet


class Load:
    """Requests to an address, one after another."""

    def __init__(self, address: str, port: int = 80, host: str = "") -> None:
        self.address, self.port, self.host = address, port, host
        self.answers, self.failures = ["old"], list[str]()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):
            connection = http.client.HTTPConnection(self.address, self.port, timeout=10)
            try:
                headers = {"Host": self.host} if self.host else {}
                connection.request("POST", "/v2/models/app/infer", json.dumps(BODY), headers)
                answer = connection.getresponse()
                said = json.loads(answer.read())
                self.answers.append(str(said["by"]) if answer.status == 200 else f"HTTP {answer.status}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()

    def stop(self) -> None:
        self._over.set()

    def until(self, tag: str) -> None:
        """Wait for an answer of this revision, after which the others give none."""
        end = time.monotonic() + 20
        while self.answers[-1] != tag:
            assert time.monotonic() < end, (tag, self.answers[-5:], self.failures)
            time.sleep(0.02)

    def next(self, count: int) -> Counter[str]:
        """Who gives the answers to come, so many of them."""
        begin, end = len(self.answers), time.monotonic() + 60
        while len(self.answers) < begin + count:
            assert time.monotonic() < end, (self.answers[-5:], self.failures)
            # A test's transaction that is idle for long is ended.
            Rollout.objects.exists()
            time.sleep(0.02)
        return Counter(self.answers[begin : begin + count])


@contextmanager
def running(load: Load) -> Iterator[Load]:
    """The load, until the block ends."""
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join()


@contextmanager
def steady_load(fleet: Fleet) -> Iterator[Load]:
    """A load on the Service's own address."""
    with running(Load(fleet.client.get("v1", "Service", "app", fleet.namespace)["spec"]["clusterIP"])) as load:
        yield load


@contextmanager
def load_by_gateway(fleet: Fleet, host: str) -> Iterator[Load]:
    """A load on the local cluster's own Gateway, which is reached by its address."""
    gateway = fleet.client.get("gateway.networking.k8s.io/v1", "Gateway", "local", "kube-system")
    address = gateway["status"]["addresses"][0]["value"]
    with running(Load(address, gateway["spec"]["listeners"][0]["port"], host)) as load:
        yield load
