"""Watches. The facts: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes"""

import itertools

from tests.localcluster.served import Served, pod, serve

PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


def seen(events: object, count: int) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in itertools.islice(events, count)]


def test_a_watch_from_a_list_sees_every_later_change_in_order(api: Served) -> None:
    version = api.get(PODS).json["metadata"]["resourceVersion"]
    api.create("pods", pod("a"))
    with api.watch(f"{PODS}?watch=true&resourceVersion={version}") as events:
        api.create("pods", pod("b"))
        api.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}}, MERGE)
        api.request("DELETE", f"{PODS}/a")
        assert seen(events, 4) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_versions_grow_and_a_deletion_has_its_own(api: Served) -> None:
    """ "...the resourceVersion of a DELETED event is that of the deletion", so that a watch can go on from there."""
    with api.watch(f"{PODS}?watch=true&resourceVersion=0") as events:
        made = api.create("pods", pod("a"))
        api.request("DELETE", f"{PODS}/a")
        added, deleted = itertools.islice(events, 2)
    assert added["object"]["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_a_watch_without_a_version_begins_with_what_exists(api: Served) -> None:
    """ "Get State and Start at Any/Most Recent": synthetic ADDED events."""
    api.create("pods", pod("a"))
    for version in ("", "&resourceVersion=0"):
        with api.watch(f"{PODS}?watch=true{version}") as events:
            assert seen(events, 1) == [("ADDED", "a")]


def test_a_watch_older_than_the_history_says_410_in_the_stream() -> None:
    """ "410 Gone": the client must list again."""
    with serve(ring=3) as api:
        version = api.get(PODS).json["metadata"]["resourceVersion"]
        for number in range(6):
            api.create("pods", pod(f"p{number}"))
        with api.watch(f"{PODS}?watch=true&resourceVersion={version}") as events:
            only = list(events)
        assert [event["type"] for event in only] == ["ERROR"]
        assert (only[0]["object"]["code"], only[0]["object"]["reason"]) == (410, "Expired")
        with api.watch(f"{PODS}?watch=true&resourceVersion=999999") as events:
            assert next(events)["object"]["code"] == 410


def test_a_selector_turns_changes_into_added_and_deleted(api: Served) -> None:
    """An object that begins to match is ADDED for the watcher, and one that ceases to match is DELETED."""
    api.create("pods", pod("a", app="x"))
    with api.watch(f"{PODS}?watch=true&labelSelector=app%3Dx") as events:
        api.create("pods", pod("b", app="y"))
        api.patch(f"{PODS}/b", {"metadata": {"labels": {"app": "x"}}}, MERGE)
        api.patch(f"{PODS}/a", {"metadata": {"labels": {"app": "z"}}}, MERGE)
        assert seen(events, 3) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


def test_a_watch_ends_at_its_timeout_and_bookmarks_tell_the_version(api: Served, monkeypatch: object) -> None:
    """ "Watch bookmarks": a BOOKMARK carries only a resourceVersion, and only where it was asked for."""
    monkeypatch.setattr("localcluster.api.watch.BOOKMARK_EVERY", 0.2)
    api.create("pods", pod("a"))
    with api.watch(f"{PODS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0") as events:
        seen = list(events)
    assert [event["type"] for event in seen][:2] == ["ADDED", "BOOKMARK"]
    assert seen[-1]["object"]["kind"] == "Pod"
    assert seen[-1]["object"]["metadata"]["resourceVersion"] == str(api.registry.store.version)
    with api.watch(f"{PODS}?watch=true&timeoutSeconds=1") as events:
        assert [event["type"] for event in events] == ["ADDED"]


def test_a_streaming_list_ends_with_a_marked_bookmark(api: Served) -> None:
    """ "Streaming lists": sendInitialEvents ends with a bookmark annotated k8s.io/initial-events-end."""
    api.create("pods", pod("a"))
    query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    with api.watch(f"{PODS}?{query}") as events:
        added, bookmark = itertools.islice(events, 2)
    assert added["type"] == "ADDED"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_one_object_can_be_watched_by_its_name(api: Served) -> None:
    with api.watch(f"{PODS}?watch=true&fieldSelector=metadata.name%3Db") as events:
        api.create("pods", pod("a"))
        api.create("pods", pod("b"))
        assert seen(events, 1) == [("ADDED", "b")]


def test_a_client_that_goes_away_leaves_no_listener(api: Served) -> None:
    with api.watch(f"{PODS}?watch=true") as events:
        api.create("pods", pod("a"))
        next(events)
        assert api.run(lambda: len(api.registry.store._listeners["pods"])) == 1
    for number in range(50):
        api.create("pods", pod(f"p{number}"))
        if not api.run(lambda: len(api.registry.store._listeners["pods"])):
            break
    else:
        raise AssertionError("the watch of a client that is gone still listens")
