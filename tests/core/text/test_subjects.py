"""Names before sentences: each is said once, however often a sentence is passed on."""

import pytest

from apps.core.text.subjects import about

SILENT = "The API server at https://home.example:6443 does not answer."


@pytest.mark.parametrize(
    ("name", "at", "sentence", "said"),
    [
        ("home", "", SILENT, f"home: {SILENT}"),
        ("home", "", f"home: {SILENT}", f"home: {SILENT}"),
        ("home", "", "Cluster home is disabled.", "Cluster home is disabled."),
        ("home", "", "home refuses Deployment web-r1: no room.", "home refuses Deployment web-r1: no room."),
        # Another that only begins alike.
        ("home", "", "Cluster home-2 is disabled.", "home: Cluster home-2 is disabled."),
        ("home", "", "home.example is silent.", "home: home.example is silent."),
        ("prod", "home", SILENT, f"prod: {SILENT}"),
        ("prod", "home", f"home: {SILENT}", f"prod on home: {SILENT}"),
        ("home-prod", "home", f"home: {SILENT}", f"home-prod: {SILENT}"),
        ("eu-home-1", "home", f"home: {SILENT}", f"eu-home-1: {SILENT}"),
        ("homes", "home", f"home: {SILENT}", f"homes on home: {SILENT}"),
        ("home", "home", f"home: {SILENT}", f"home: {SILENT}"),
        ("prod", "home", "Cluster home is disabled.", "prod: Cluster home is disabled."),
    ],
)
def test_a_name_stands_once_before_a_sentence(name: str, at: str, sentence: str, said: str) -> None:
    assert about(name, sentence, at=at) == said
    assert about(name, about(name, sentence, at=at), at=at) == said, "said again it is the same"
