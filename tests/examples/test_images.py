"""The examples' images, as the local cluster reads them."""

from pathlib import Path

from controlplane.embedded.fleet import IMAGES
from localcluster.kubelet.images import ImageTable

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_digits_image_holds_the_example_and_lets_mlflow_report_to_nobody():
    image = ImageTable.load(EXAMPLES / "images.toml").find("flotilla-examples/digits:1")
    assert image is not None
    assert {path.name for path in image.files.iterdir()} >= {"train.py", "data.py"}
    assert image.env["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_model_server_is_an_image_of_the_local_cluster_by_default():
    image = ImageTable.load(*IMAGES).find("flotilla-model-server:2")
    assert image is not None
    assert image.command == ("python", "-m", "openinference")
    assert (image.files / "openinference" / "__main__.py").is_file()
