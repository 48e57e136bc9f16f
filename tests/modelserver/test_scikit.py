"""Models of scikit-learn in every form in which MLflow keeps them, and what is refused of what pretends to be one."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from modelserver.openinference.errors import ModelError
from modelserver.openinference.flavours import flavours_of, load
from modelserver.openinference.protocol import metadata, predict
from modelserver.openinference.trust import is_trusted
from tests.later import Later

linear_model, preprocessing = Later("sklearn.linear_model"), Later("sklearn.preprocessing")
cluster, ensemble = Later("sklearn.cluster"), Later("sklearn.ensemble")
gaussian_process, neighbors = Later("sklearn.gaussian_process"), Later("sklearn.neighbors")
neural_network, pipeline, svm = Later("sklearn.neural_network"), Later("sklearn.pipeline"), Later("sklearn.svm")

INPUTS = np.arange(90.0).reshape(30, 3) % 7
LABELS = (INPUTS[:, 0] > 3).astype(int)
WORDS = np.where(LABELS, "yes", "no")


def as_skops(model: Any) -> bytes:
    """As skops writes it, which takes seconds to import: not while the tests of other files are collected."""
    from skops import io

    return io.dumps(model)


def kept(dump: Callable[[Any], bytes], form: str | None, model: Any) -> Callable[[str], bytes]:
    """The files of a model as `mlflow.sklearn.log_model` writes them."""
    flavour = {"pickled_model": "m", **({"serialization_format": form} if form else {})}
    files = {"MLmodel": json.dumps({"flavors": {"sklearn": flavour}}).encode(), "m": dump(model)}
    return files.__getitem__


FORMS = [(as_skops, "skops"), (pickle.dumps, "pickle"), (pickle.dumps, "cloudpickle"), (pickle.dumps, None)]


def fits() -> Iterator[tuple[Any, Any, list[str], str]]:
    """(What is fitted, to what, its outputs, the datatype of the first.)"""
    classes, value = ["label", "probabilities"], ["prediction"]
    perceptron = pipeline.make_pipeline(preprocessing.StandardScaler(), neural_network.MLPClassifier((4,), max_iter=2))
    yield linear_model.LogisticRegression(), LABELS, classes, "INT64"
    yield linear_model.LogisticRegression(), WORDS, classes, "BYTES"
    yield perceptron, LABELS, classes, "INT64"
    yield ensemble.RandomForestClassifier(3), LABELS, classes, "INT64"
    yield ensemble.GradientBoostingClassifier(n_estimators=2), LABELS, classes, "INT64"
    yield neighbors.KNeighborsClassifier(3, algorithm="kd_tree"), LABELS, classes, "INT64"
    yield svm.SVC(), LABELS, value, "INT64"
    yield linear_model.Ridge(), LABELS * 0.5, value, "FP64"
    yield ensemble.HistGradientBoostingRegressor(max_iter=2), LABELS * 0.5, value, "FP64"
    yield gaussian_process.GaussianProcessRegressor(), LABELS * 0.5, value, "FP64"
    yield cluster.KMeans(2, n_init=1), LABELS, value, "INT64"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dump", "form"), FORMS)
def test_every_kind_of_estimator_is_served_as_it_predicts(dump: Callable[[Any], bytes], form: str | None) -> None:
    for estimator, truth, names, datatype in fits():
        fitted = estimator.fit(INPUTS, truth)
        model = load(kept(dump, form, fitted))
        said = metadata(model, "m", "1")
        assert said["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 3]}]
        assert [output["name"] for output in said["outputs"]] == names
        tensor = {"name": "any", "shape": [30, 3], "datatype": "FP64", "data": INPUTS.tolist()}
        answer = predict(model, "m", "1", json.dumps({"inputs": [tensor]}).encode())
        first = answer["outputs"][0]
        assert (first["datatype"], first["data"]) == (datatype, fitted.predict(INPUTS).tolist()), estimator
        if len(names) == 2:
            assert answer["outputs"][1]["data"] == pytest.approx(fitted.predict_proba(INPUTS).ravel().tolist())
            assert said["outputs"][1]["shape"] == [-1, 2]


@pytest.mark.parametrize(
    ("mlmodel", "sentence"),
    [
        (
            b"flavors: {python_function: {}, pytorch: {}}",
            "flavours are python_function, pytorch; this server knows skl",
        ),
        (b"flavors: {}", "flavours are none"),
        (b"- a list", "no model that MLflow logged"),
        (b"{", "no model that MLflow logged"),
        (b"flavors: {sklearn: {pickled_model: m, serialization_format: joblib}}", "kept as joblib; this server reads"),
        (b"flavors: {sklearn: {}}", "does not say where"),
    ],
)
def test_says_why_another_kind_of_model_is_refused(mlmodel: bytes, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load({"MLmodel": mlmodel, "m": b""}.__getitem__)


def test_flavours_are_read_as_they_stand() -> None:
    assert set(flavours_of(b"flavors: {sklearn: {}, python_function: {}}")) == {"sklearn", "python_function"}


class RunsACommand:
    def __reduce__(self) -> Any:
        return os.system, ("exit 3",)


@pytest.mark.parametrize(
    ("dump", "form", "model", "sentence"),
    [
        (pickle.dumps, "pickle", RunsACommand, r"wants (posix|nt)\.system, which this server does not import"),
        (pickle.dumps, "pickle", lambda: preprocessing.FunctionTransformer(os.getenv), r"wants os\.getenv"),
        (pickle.dumps, "pickle", lambda: [1, 2], "holds a list, which predicts nothing"),
        (
            pickle.dumps,
            "pickle",
            lambda: preprocessing.StandardScaler(),
            "holds a StandardScaler, which predicts nothing",
        ),
        (lambda _: b"", "pickle", lambda: None, "can't be unpickled"),
        (lambda _: b"not a pickle", "cloudpickle", lambda: None, "can't be unpickled"),
        (lambda _: b"csklearn.utils\n_testing.os.system\n.", "pickle", lambda: None, "does not import"),
        (lambda _: b"no archive", "skops", lambda: None, "can't be read"),
        (as_skops, "skops", lambda: preprocessing.FunctionTransformer(os.getenv), r"holds a os\.getenv"),
    ],
)
def test_loads_nothing_but_estimators(
    dump: Callable[[Any], bytes], form: str, model: Callable[[], Any], sentence: str
) -> None:
    kept_so = kept(dump, form, model())
    with pytest.raises(ModelError, match=sentence):
        load(kept_so)


@pytest.mark.parametrize(
    ("module", "name", "trusted"),
    [
        ("sklearn.linear_model._ridge", "Ridge", True),
        ("sklearn._loss._loss", "__pyx_unpickle_CyHalfMultinomialLoss", True),
        ("scipy.sparse._csr", "csr_matrix", True),
        ("numpy", "ndarray", True),
        ("collections", "OrderedDict", True),
        # Functions, what others have imported, and what is not made for it.
        ("sklearn.datasets._base", "load_files", False),
        ("sklearn.utils", "warnings.sys", False),
        ("sklearn.utils._testing", "TempMemmap", False),
        ("sklearn.base", "warnings", False),
        ("sklearn.utils._joblib", "Parallel", False),
        ("sklearn.nothing", "Ridge", False),
        ("sklearnish", "Ridge", False),
        ("numpy", "load", False),
        ("builtins", "eval", False),
        ("builtins", "getattr", False),
        ("os", "system", False),
    ],
)
def test_what_a_model_may_name(module: str, name: str, trusted: bool) -> None:
    assert is_trusted(module, name) is trusted
