"""Models of scikit-learn as `mlflow.sklearn.log_model` keeps them: skops, which is its default, and pickle."""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ModelError
from .model import Numbers, Tensor, datatype_of
from .trust import is_trusted

INPUT = "input"


def load(flavour: Mapping[str, Any], files: Callable[[str], bytes]) -> "ScikitModel":
    """The fitted model that the flavour's part of an MLmodel file tells of. Raises ModelError."""
    form, name = str(flavour.get("serialization_format") or "pickle"), flavour.get("pickled_model")
    readers = {"skops": unskops, "pickle": unpickle, "cloudpickle": unpickle}
    if not isinstance(name, str) or not name:
        raise ModelError("The MLmodel file does not say where the scikit-learn model is.")
    if form not in readers:
        raise ModelError(f"The model is kept as {form}; this server reads {', '.join(readers)}.")
    estimator = readers[form](files(name))
    if not callable(getattr(estimator, "predict", None)):
        raise ModelError(f"The file holds a {type(estimator).__name__}, which predicts nothing.")
    return ScikitModel(estimator)


class ScikitModel:
    """A fitted estimator: numbers in, labels with their probabilities or plain predictions out."""

    platform = "sklearn"

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        features = getattr(estimator, "n_features_in_", None)
        self.input = Tensor(INPUT, "FP64", (-1, int(features) if features else -1))
        self.outputs: Sequence[Tensor] = _outputs(estimator)

    def predict(self, rows: Numbers, wanted: Sequence[str]) -> dict[str, Any]:
        """The wanted outputs. A classifier that gives probabilities is asked once."""
        if len(self.outputs) == 1:
            return {self.outputs[0].name: np.asarray(self._estimator.predict(rows))}
        outputs: dict[str, Any] = {}
        if "probabilities" in wanted:
            outputs["probabilities"] = np.asarray(self._estimator.predict_proba(rows))
        if "label" in wanted:
            # Not by the greatest probability: some classifiers (SVC) decide otherwise.
            outputs["label"] = np.asarray(self._estimator.predict(rows))
        return outputs


def _outputs(estimator: Any) -> list[Tensor]:
    try:
        # Pipelines and searches have these only where the estimators inside them do.
        classes = np.asarray(estimator.classes_)
        known = classes.ndim == 1 and classes.dtype != object and callable(estimator.predict_proba)
    except (AttributeError, ValueError):
        known = False
    if not known:
        return [Tensor("prediction", "FP64", (-1,))]
    label = Tensor("label", datatype_of(classes), (-1,))
    return [label, Tensor("probabilities", "FP64", (-1, len(classes)))]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not is_trusted(module, name):
            raise ModelError(f"The pickle wants {module}.{name}, which this server does not import for a model.")
        return super().find_class(module, name)


def unpickle(data: bytes) -> Any:
    """Load a pickled estimator; refuse a pickle that names anything else. Raises ModelError."""
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except (
        pickle.UnpicklingError, EOFError, ImportError, AttributeError, ValueError, TypeError, IndexError, KeyError,
    ) as error:  # fmt: skip
        raise ModelError(f"The model can't be unpickled: {error}") from error


def unskops(data: bytes) -> Any:
    """Load an estimator in skops' form. Types that skops does not trust must be trusted here. Raises ModelError."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        beyond = list(skops.io.get_untrusted_types(data=data))
        for name in beyond:
            module, _, last = name.rpartition(".")
            if not is_trusted(module, last):
                raise ModelError(f"The model holds a {name}, which this server does not import for a model.")
        return skops.io.loads(data, trusted=beyond)
    except UntrustedTypesFoundException as error:
        raise ModelError(f"The model can't be trusted: {error}") from error
    except (zipfile.BadZipFile, OSError, ImportError, AttributeError, ValueError, TypeError, LookupError) as error:
        raise ModelError(f"The model can't be read: {error}") from error
