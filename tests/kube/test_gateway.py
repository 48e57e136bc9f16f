"""The HTTPRoute and the Services that Flotilla makes, on any cluster with the Gateway API and a Gateway for all.

https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from typing import Any

import pytest
from kubernetes import client

from apps.deployments.drift import differences, projection
from apps.deployments.manifests import Identity, owner_of_service, selected_by, services
from apps.deployments.manifests.routes import http_route, route_in
from apps.deployments.rollout.gateway import Gateway
from apps.deployments.rollout.standing import standing_of
from apps.deployments.rollout.traffic import TO_SERVICE, Route
from tests.kube.conftest import Rest
from tests.kube.support import Object, wait_until

API = "/apis/gateway.networking.k8s.io/v1"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
def gateway(rest: Rest) -> Gateway:
    """A Gateway that takes routes of all namespaces."""
    status, answer = rest("GET", f"{API}/gateways")
    for found in answer["items"] if status == 200 else ():
        for listener in found["spec"]["listeners"]:
            origin = ((listener.get("allowedRoutes") or {}).get("namespaces") or {}).get("from")
            if origin == "All" and listener["protocol"] == "HTTP":
                metadata = found["metadata"]
                return Gateway(metadata["name"], metadata["namespace"], listener["name"])
    pytest.skip("the cluster has no Gateway with an HTTP listener for all namespaces")


def test_routes_and_services_are_taken_as_they_are_stated(
    core: client.CoreV1Api, rest: Rest, gateway: Gateway, namespace: str
) -> None:
    identity = Identity("demo", "web", namespace)
    path = f"{API}/namespaces/{namespace}/httproutes/web"

    def put(where: str, stated: Object) -> Object:
        status, answer = rest("PATCH", f"{where}?fieldManager=flotilla&force=true", stated, type_=APPLY)
        assert status in (200, 201), answer
        live: Object = rest("GET", where)[1]
        assert differences(live, projection(answer, stated)) == []
        return live

    def serve(selects: int | None, preview: int | None = None, own: tuple[int, ...] = ()) -> dict[str, Any]:
        made = {}
        for stated, _ in services(identity, 1, selects=selects, preview=preview, own=own):
            name = stated["metadata"]["name"]
            made[name] = put(f"/api/v1/namespaces/{namespace}/services/{name}", stated)
        return made

    # A blue-green: one Service switches, the other looks ahead.
    made = serve(1, preview=2)
    assert {name: selected_by(each) for name, each in made.items()} == {"web": 1, "web-preview": 2}
    assert selected_by(serve(2, preview=2)["web"]) == 2
    # A weight by an HTTPRoute: the second Service is the revision's own.
    assert owner_of_service(identity, serve(1, own=(2,))["web-r2"]) == 2

    def stands(route: Route) -> bool:
        live: Object = rest("GET", path)[1]
        assert route_in(identity, live) == route
        return standing_of(live, gateway).taken

    # And copies to it, of a part of the requests and of all.
    for route in (TO_SERVICE, Route(2, 5), Route(2, 0, 20), Route(2, 0, 100), TO_SERVICE):
        put(path, http_route(identity, gateway, f"web.{namespace}", route))
        wait_until(f"the Gateway to take {route}", lambda route=route: stands(route))
    # A Service that is gone is told of, in the Gateway's own words.
    put(path, http_route(identity, gateway, f"web.{namespace}", Route(9, 5)))
    wait_until("what is not there to be told of", lambda: standing_of(rest("GET", path)[1], gateway).refused)
    assert "does not find what the HTTPRoute names" in standing_of(rest("GET", path)[1], gateway).message
