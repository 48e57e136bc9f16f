"""The page of a run with all of its parts, for tests of what it tells and not of where."""

from django.test import Client

from apps.experiments.models import Run

PARTS = ("", "charts/", "system/", "artifacts/", "logs/", "pods/", "lineage/")


def whole(client: Client, run: Run, *, project: str = "demo") -> str:
    """The HTML of all parts, one after the other."""
    texts = []
    for part in PARTS:
        reply = client.get(f"/p/{project}/runs/{run.uid}/{part}")
        assert reply.status_code == 200, (part, reply.status_code, reply.content[:2000])
        texts.append(reply.content.decode())
    return "\n".join(texts)
