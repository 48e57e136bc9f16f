"""Whether an API server was there for others while a request to a replica got no answer, or a doubtful one.

By a timeout alone nobody knows who was silent. Asking afterwards is not enough: a silence may end with the timeout, and
after a broken path TCP repeats what was lost seconds later than the path is whole. So it is asked meanwhile, too.
"""

import threading
import time

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError

# Within which an API server answers that is not silent.
AWAKE_SECONDS = 1.0


class Vigil:
    """Around one request: the API server is asked for its version once after `seconds`, if that still goes on."""

    def __init__(self, client: KubeClient, seconds: float) -> None:
        self._client, self._trouble = client, ""
        self._meanwhile = threading.Timer(seconds, self._look)
        self._meanwhile.daemon = True

    def __enter__(self) -> "Vigil":
        self._meanwhile.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._meanwhile.cancel()

    def trouble(self) -> str:
        """Why the API server may be what was silent, in a sentence, as of meanwhile and now; "" where it was there."""
        self._meanwhile.cancel()
        self._meanwhile.join()
        if not self._trouble:
            self._look()
        return self._trouble

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self._client.version(timeout=AWAKE_SECONDS)
        except KubeError as error:
            self._trouble = error.message
            return
        if time.monotonic() - began > AWAKE_SECONDS:
            self._trouble = "It answers too slowly."
