"""Refusals wait for a second opinion.

For some seconds after its start an API server knows its clients, but not yet their roles, and says 403 (and of a
service account 401) to what it allowed before and will allow again. Nobody is to act on that: a refusal is believed
when it is said again `SECONDS` after the first, with no other answer between. Until then it is a failure to ask, which
every caller repeats by itself. This is the one place where that is decided; above the adapter a `Forbidden` is one.
What an admission controller says of an object (a quota, a webhook, a policy) is no word about roles, and believed at
once: in a namespace where others of its kind are written meanwhile it would never be.

What was refused is remembered by each client, so by each process: a single 403 is believed a little later where many
workers ask in turn. That the credential as a whole is refused they need not find out one by one: the watcher says so in
the cluster's row, and what is known from there is believed at once.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from apps.clusters.kube.errors import Forbidden, KubeError, RefusedOnce, Subject, Unauthorized

SECONDS = 15.0
# An older refusal was another occasion.
FORGOTTEN_SECONDS = 900.0
MAX_REMEMBERED = 512
# https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
_OF_ADMISSION = re.compile(r"exceeded quota: |admission webhook \".*\" denied the request|denied request: ", re.DOTALL)

# A request without its object's name: the HTTP method and the subject; nothing for a refused credential.
Question = tuple[str, Subject] | None


@dataclass
class _Refusal:
    first: float
    last: float


class Opinions:
    """The refusals of one client; threads may share it. `seconds` and `clock` (monotonic, seconds) are for tests."""

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self.refused = False
        """Whether somebody else has heard twice that the credential is refused."""
        self._refusals: OrderedDict[Question, _Refusal] = OrderedDict()
        self._lock = threading.Lock()

    def judge(self, method: str, about: Subject, error: KubeError) -> KubeError:
        """The error to raise for `error`: itself, or RefusedOnce for a refusal that is not believed yet."""
        if not isinstance(error, Unauthorized | Forbidden):
            return error
        if self.refused and isinstance(error, Unauthorized):
            return error
        if isinstance(error, Forbidden) and _OF_ADMISSION.search(error.message):
            return error
        question, now = None if isinstance(error, Unauthorized) else _question(method, about), self._clock()
        wait = SECONDS if self._seconds is None else self._seconds
        with self._lock:
            known = self._refusals.pop(question, None)
            if known is None or now - known.last > max(FORGOTTEN_SECONDS, 2 * wait):
                known = _Refusal(now, now)
            known.last = now
            self._refusals[question] = known
            while len(self._refusals) > MAX_REMEMBERED:
                self._refusals.popitem(last=False)
        return error if now - known.first >= wait else RefusedOnce(error)

    def accepted(self, method: str, about: Subject) -> None:
        """The same was answered: what was refused before is forgotten."""
        # /version is public on many clusters: it says nothing of the credential.
        if about.resource:
            self.refused = False
        if self._refusals:
            with self._lock:
                self._refusals.pop(_question(method, about), None)
                if about.resource:
                    self._refusals.pop(None, None)


def _question(method: str, about: Subject) -> Question:
    return method, Subject(about.group, about.resource, about.namespace, "", about.subresource)
