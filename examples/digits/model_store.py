"""Fetch a registered model over plain HTTP and load it, without importing MLflow (which would take 3 s and 100 MB)."""

import io
import json
import logging
import pickle
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

log = logging.getLogger("digits.serve")

REQUEST_SECONDS = 5.0
# A registry that restarts is back sooner than this; after it, Kubernetes restarts us with its own back-off.
FETCH_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
LARGEST_FILE = 64 * 1024 * 1024
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

# Everything that a pickled MLPClassifier is made of. A pickle names what it wants imported and called, so whoever
# may upload a model could otherwise run any code in here.
PICKLED_CLASSES = frozenset(
    {
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.random._mt19937", "MT19937"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("sklearn.neural_network._multilayer_perceptron", "MLPClassifier"),
        ("sklearn.neural_network._stochastic_optimizers", "AdamOptimizer"),
        ("sklearn.preprocessing._label", "LabelBinarizer"),
    }
)


class ModelError(Exception):
    """The model can't be fetched or is not what this server can load. The message says why."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would carry the token along to wherever a redirect leads."""

    def redirect_request(self, *args: Any) -> None:
        return None


@dataclass(frozen=True)
class Registry:
    """An MLflow server and a token for it. Retries until `fetch_seconds` have passed, then gives up."""

    url: str
    token: str = field(repr=False)
    fetch_seconds: float = FETCH_SECONDS
    sleep: Callable[[float], None] = time.sleep

    def fetch_model(self, name: str, version: str) -> Any:
        """The fitted scikit-learn model of a registered version. Raises ModelError."""
        root = self._artifact_root(name, version)
        pickled = pickled_model_name(self._get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(root)}/MLmodel"))
        return unpickle(self._get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(root)}/{quote(pickled)}"))

    def _artifact_root(self, name: str, version: str) -> str:
        query = urlencode({"name": name, "version": version})
        body = self._get(f"/api/2.0/mlflow/model-versions/get-download-uri?{query}")
        try:
            uri = str(json.loads(body)["artifact_uri"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The registry's answer about version {version} of {name} makes no sense.") from error
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts":
            raise ModelError(f"The model's files are at a {parts.scheme}: address; only mlflow-artifacts: is known.")
        return parts.path.strip("/")

    def _get(self, path: str) -> bytes:
        """The body of a GET, tried again while the server is away or busy."""
        deadline = time.monotonic() + self.fetch_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._get_once(path)
            except urllib.error.HTTPError as error:
                if error.code not in TRY_AGAIN:
                    raise ModelError(f"GET {path} was answered with {error.code} {error.reason}.") from error
                reason = f"{error.code} {error.reason}"
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if time.monotonic() + pause > deadline:
                raise ModelError(f"GET {self.url}{path} kept failing for {self.fetch_seconds:g} s: {reason}.")
            log.warning("GET %s: %s; next try in %.1f s", path, reason, pause)
            self.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _get_once(self, path: str) -> bytes:
        request = urllib.request.Request(self.url.rstrip("/") + path)  # noqa: S310 (main() checked the scheme)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=REQUEST_SECONDS) as response:
            body: bytes = response.read(LARGEST_FILE + 1)
        if len(body) > LARGEST_FILE:
            raise ModelError(f"GET {path} is larger than {LARGEST_FILE // 2**20} MiB.")
        return body


def pickled_model_name(mlmodel: bytes) -> str:
    """The pickle's file name, from an MLmodel file. Raises ModelError for any other kind of model."""
    import yaml

    try:
        flavor = yaml.safe_load(mlmodel)["flavors"]["sklearn"]
        name, form = str(flavor["pickled_model"]), flavor.get("serialization_format")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("The version is not a scikit-learn model logged by mlflow.sklearn.log_model.") from error
    if form != "pickle":
        raise ModelError(f"The model is serialized as {form}; log it with serialization_format='pickle'.")
    return name


class _ShortListUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED_CLASSES:
            raise ModelError(f"The pickle wants {module}.{name}, which is not on this server's list.")
        return super().find_class(module, name)


def unpickle(data: bytes) -> Any:
    """Load a pickled classifier; refuse a pickle that names anything else. Raises ModelError."""
    try:
        model = _ShortListUnpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ImportError, AttributeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(f"The model can't be unpickled: {error}") from error
    if not hasattr(model, "predict_proba"):
        _refuse(model)
    return model


def _refuse(model: object) -> NoReturn:
    raise ModelError(f"The pickle holds a {type(model).__name__}, not a classifier.")
