"""Whatever comes in whatever order, and however often a write fails: the rows end as the cluster is."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.clusters.observed.store import Batch
from apps.clusters.watcher.inbox import Inbox
from tests.clusters import fakeapi

UIDS = ("a", "b", "c")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(UIDS)),
        st.tuples(st.just("delete"), st.sampled_from(UIDS)),
        # What was missed while no watch stood; only a list tells of it.
        st.tuples(st.just("silent put"), st.sampled_from(UIDS)),
        st.tuples(st.just("silent delete"), st.sampled_from(UIDS)),
        st.tuples(st.sampled_from(["list", "take", "commit", "abort"]), st.just("")),
    ),
    max_size=30,
)


class Cluster:
    """What is there, the inbox that hears of it, and a table that batches are written to as `store` writes them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.versions = iter(range(1, 10_000))
        self.there: dict[str, str] = {}
        self.table: dict[str, str] = {}
        self.inbox = Inbox()
        self.taken: Batch | None = None

    def obj(self, uid: str) -> dict[str, Any]:
        made = fakeapi.pod(uid) if self.kind != "Node" else fakeapi.node(uid)
        made["metadata"] |= {"uid": uid, "resourceVersion": self.there.get(uid, "0")}
        return made

    def step(self, what: str, uid: str) -> None:
        if what.endswith("put"):
            self.there[uid] = str(next(self.versions))
            if what == "put":
                self.inbox.event(self.kind, "MODIFIED", self.obj(uid))
        elif what.endswith("delete"):
            gone = self.obj(uid)
            self.there.pop(uid, None)
            if what == "delete":
                self.inbox.event(self.kind, "DELETED", gone)
        elif what == "list":
            self.inbox.complete(self.kind, self.inbox.listed(self.kind, [self.obj(uid) for uid in self.there]))
        elif what == "take" and self.taken is None:
            self.taken = self.inbox.take()
        elif what == "commit" and self.taken is not None:
            self.write(self.taken)
            self.taken = None
        elif what == "abort" and self.taken is not None:
            self.inbox.put_back(self.taken)
            self.taken = None

    def write(self, batch: Batch) -> None:
        def forget() -> None:
            present = batch.present.get(self.kind)
            for uid in list(self.table):
                if uid in batch.deleted.get(self.kind, ()) or (present is not None and uid not in present):
                    del self.table[uid]

        rows = {"Node": batch.nodes, "Pod": batch.pods}.get(self.kind, batch.workloads)
        upserted = {uid: row["resource_version"] for uid, row in rows.items() if row.get("deleted_at") is None}
        if self.kind != "Pod":
            forget()
        self.table |= upserted
        if self.kind == "Pod":
            for uid in rows.keys() - upserted.keys():
                self.table.pop(uid, None)
            forget()


@pytest.mark.parametrize("kind", ["Node", "Pod", "Job"])
@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_the_rows_end_as_the_cluster_is(kind: str, steps: list[tuple[str, str]]) -> None:
    cluster = Cluster(kind)
    for step in [*steps, ("abort", ""), ("list", ""), ("take", ""), ("commit", "")]:
        cluster.step(*step)
    assert cluster.table == cluster.there


@pytest.mark.parametrize("kind", ["Node", "Pod", "Job"])
@settings(max_examples=300, deadline=None)
@given(steps=STEPS.filter(lambda steps: not any("silent" in what for what, _ in steps)))
def test_where_the_watch_misses_nothing_no_list_is_needed(kind: str, steps: list[tuple[str, str]]) -> None:
    cluster = Cluster(kind)
    for step in [*steps, ("abort", ""), ("take", ""), ("commit", "")]:
        cluster.step(*step)
    assert cluster.table == cluster.there
