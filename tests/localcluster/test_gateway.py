"""The Gateway API. https://gateway-api.sigs.k8s.io/reference/spec/"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from localcluster.gateway.attach import Attached, intersection
from localcluster.gateway.build import GROUP
from localcluster.gateway.install import gateway_parts, install
from localcluster.gateway.objects import CLASSES, GATEWAYS, ROUTES
from localcluster.gateway.routing import Asked, Backend, Rule, Shares, entries, rule_for, rules_of, seconds
from localcluster.kubeproxy import make_forwarder
from localcluster.registry import Registry
from localcluster.server import bootstrap
from localcluster.store import Store
from tests.localcluster.served import Served, serve

Object = dict[str, Any]
LOCAL = {"name": "local", "namespace": "kube-system"}
PATH = f"/apis/{GROUP}/v1/namespaces/default/httproutes"


def route(name: str, *rules: Object, parent: Object = LOCAL, hostnames: tuple[str, ...] = ()) -> Object:
    spec: Object = {"parentRefs": [parent], "rules": list(rules)}
    return {"metadata": {"name": name}, "spec": {**spec, "hostnames": list(hostnames)} if hostnames else spec}


def backends(**weights: int) -> Object:
    return {"backendRefs": [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]}


def mirror(service: str, **share: Any) -> Object:
    reference = {"name": service, "port": 80}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": reference, **share}}


@pytest.fixture(scope="module")
def gateway_api() -> Iterator[Served]:
    """An API with the definitions, and nobody who writes statuses."""
    with serve() as api:
        api.run(lambda: install(api.registry))
        yield api


def test_the_gateway_api_is_discovered_and_its_gateway_is_there(gateway_api: Served) -> None:
    resources = gateway_api.get(f"/apis/{GROUP}/v1").json["resources"]
    kinds = {each["kind"] for each in resources}
    assert kinds == {"GatewayClass", "Gateway", "HTTPRoute"}
    assert {each["name"] for each in resources} >= {"httproutes/status", "gateways/status"}
    made = gateway_api.get(f"/apis/{GROUP}/v1/namespaces/kube-system/gateways/local").json
    assert made["spec"]["gatewayClassName"] == "flotilla-local"
    version = made["metadata"]["resourceVersion"]
    gateway_api.run(lambda: install(gateway_api.registry))
    again = gateway_api.get(f"/apis/{GROUP}/v1/namespaces/kube-system/gateways/local").json
    assert again["metadata"]["resourceVersion"] == version


def test_a_route_gets_the_defaults_of_the_published_schema(gateway_api: Served) -> None:
    made = gateway_api.post(PATH, route("a", {"backendRefs": [{"name": "web", "port": 80}]})).json
    assert made["spec"]["parentRefs"] == [{**LOCAL, "group": GROUP, "kind": "Gateway"}]
    assert made["spec"]["rules"] == [
        {
            "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}],
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        }
    ]


def _bad_path(value: str, type_: str = "PathPrefix") -> Object:
    return {"matches": [{"path": {"type": type_, "value": value}}]}


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"backendRefs": [{"name": "web", "port": 80, "weight": -1}]}, "spec.rules[0].backendRefs[0].weight"),
        ({"backendRefs": [{"name": "web", "port": 80, "weight": 1_000_001}]}, "spec.rules[0].backendRefs[0].weight"),
        ({"backendRefs": [{"name": "web"}]}, "spec.rules[0].backendRefs[0].port"),
        ({"backendRefs": [{"name": "web", "port": "http"}]}, "spec.rules[0].backendRefs[0].port"),
        ({"backendRefs": [{"port": 80}]}, "spec.rules[0].backendRefs[0].name"),
        ({"filters": [{"type": "RequestMirror"}]}, "spec.rules[0].filters[0]"),
        ({"filters": [{"type": "Mirror"}]}, "spec.rules[0].filters[0].type"),
        ({"filters": [{**mirror("web"), "type": "URLRewrite"}]}, "spec.rules[0].filters[0]"),
        ({"filters": [mirror("web", percent=101)]}, "spec.rules[0].filters[0].requestMirror.percent"),
        (
            {"filters": [mirror("web", percent=1, fraction={"numerator": 1})]},
            "spec.rules[0].filters[0].requestMirror",
        ),
        (_bad_path("v2"), "spec.rules[0].matches[0].path"),
        (_bad_path("/a//b"), "spec.rules[0].matches[0].path"),
        (_bad_path("/a?b"), "spec.rules[0].matches[0].path"),
        ({"timeouts": {"request": "5 s"}}, "spec.rules[0].timeouts.request"),
    ],
)
def test_what_the_published_rules_refuse_is_refused(gateway_api: Served, rule: Object, field: str) -> None:
    reply = gateway_api.post(PATH, route("a", rule))
    assert reply.status == 422, reply.body
    assert field in [each["field"] for each in reply.json["details"]["causes"]]


def test_an_unknown_field_is_told_or_refused_as_asked(gateway_api: Served) -> None:
    wrong = route("a", {"backendRef": [{"name": "web", "port": 80}]})
    strict = gateway_api.post(f"{PATH}?fieldValidation=Strict", wrong)
    assert strict.status == 400 and 'unknown field "spec.rules[0].backendRef"' in strict.json["message"]


@pytest.mark.parametrize(
    ("listener", "hostnames", "expected"),
    [
        ("", [], [""]),
        ("", ["a.example.com"], ["a.example.com"]),
        ("a.example.com", [], ["a.example.com"]),
        ("*.example.com", ["a.example.com", "example.com", "a.b.example.com"], ["a.example.com", "a.b.example.com"]),
        ("a.example.com", ["*.example.com", "*.example.org"], ["a.example.com"]),
        ("*.example.com", ["*.a.example.com"], ["*.a.example.com"]),
        ("*.a.example.com", ["*.example.com"], ["*.a.example.com"]),
        ("a.example.com", ["b.example.com"], []),
    ],
)
def test_hostnames_of_listener_and_route_meet(listener: str, hostnames: list[str], expected: list[str]) -> None:
    """ "Hostname intersection" of HTTPRouteSpec."""
    assert intersection(listener, hostnames) == expected


def _matching(**match: Any) -> Object:
    path = match.pop("path", None)
    of_path = {"path": {"type": "Exact" if path[0] == "=" else "PathPrefix", "value": path.lstrip("=")}} if path else {}
    return {"matches": [{**of_path, **match}]}


NAMED = [{"name": "Version", "value": "two", "type": "Exact"}]


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (("GET", "any.example.com", "/", {}, {}), 0),
        (("GET", "any.example.com", "/v2", {}, {}), 1),
        (("GET", "any.example.com", "/v2/models", {}, {}), 1),
        (("GET", "any.example.com", "/v2x", {}, {}), 0),
        (("GET", "any.example.com", "/v2/health", {}, {}), 2),
        (("GET", "any.example.com", "/v2/health/live", {}, {}), 1),
        (("POST", "any.example.com", "/v2", {}, {}), 3),
        (("GET", "any.example.com", "/v2", {}, {"version": "two"}), 4),
        (("GET", "any.example.com", "/v2", {"Version": "two"}, {}), 5),
    ],
)
def test_the_most_specific_rule_takes_a_request(asked: Any, rule: int) -> None:
    """ "Proxy or Load Balancer routing configuration": exact path, longest prefix, method, headers, query."""
    stated = [
        _matching(path="/"),
        _matching(path="/v2"),
        _matching(path="=/v2/health"),
        _matching(path="/v2", method="POST"),
        _matching(path="/v2", headers=NAMED),
        _matching(path="/v2", queryParams=NAMED),
    ]
    made = route("a", *stated)
    made["metadata"] |= {"namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
    rules = rules_of(made, lambda *_: None)
    table = sorted(entries(made, Attached(8080, "", ("",)), rules), key=lambda each: each.rank)
    assert rule_for(table, Asked(*asked)) is rules[rule]


@pytest.mark.parametrize("weights", [(80, 20), (1, 1), (99, 1), (100, 0), (3, 5, 2)])
def test_of_a_hundred_requests_each_backend_gets_its_share(weights: tuple[int, ...]) -> None:
    rule = Rule("r", tuple(Backend("default", f"s{number}", "", weight) for number, weight in enumerate(weights)))
    shares, total = Shares(), sum(weights)
    taken = Counter(chosen.service for _ in range(10 * total) if (chosen := shares.choose(rule)))
    assert [taken[f"s{number}"] for number in range(len(weights))] == [10 * each for each in weights]
    assert shares.choose(Rule("none", (Backend("default", "s", "", 0),))) is None


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("0s", None), ("1m30s", 90.0), ("500ms", 0.5)])
def test_durations(text: str | None, expected: float | None) -> None:
    assert seconds(text) == expected


class World:
    """A registry with the gateway's controllers, and servers of the test's own behind Services."""

    def __init__(self) -> None:
        self.registry = Registry(Store())
        bootstrap(self.registry)
        install(self.registry)
        self.got: Counter[str] = Counter()
        self._runners: list[web.AppRunner] = []

    async def serve(self, name: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None) -> None:
        """A Service, with a server where `answer` is given."""
        ports = {"ports": [{"name": "http", "port": 80}]}
        self.registry.create("services", {"metadata": {"name": name}, "spec": ports}, namespace="default")
        if answer is None:
            return

        async def counted(request: web.Request) -> web.StreamResponse:
            self.got[name] += 1
            return await answer(request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", counted)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        piece = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        }
        self.registry.create("endpointslices", piece, namespace="default")

    def make(self, made: Object) -> None:
        self.registry.create(ROUTES, made, namespace="default")

    def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        """Of the route's first parent: (status, reason) by type."""
        parents = (self.registry.get(ROUTES, name, "default").get("status") or {}).get("parents") or [{}]
        return {each["type"]: (each["status"], each["reason"]) for each in parents[0].get("conditions") or ()}

    async def until(self, condition: Callable[[], Any]) -> Any:
        for _ in range(1000):
            if met := condition():
                return met
            await asyncio.sleep(0.01)
        raise AssertionError([each.get("status") for each in self.registry.list(ROUTES)])

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


def story(run: Callable[[World, str, aiohttp.ClientSession], Awaitable[None]]) -> None:
    """Run a test's story: its world, the Gateway's URL, a client."""

    async def told() -> None:
        world = World()
        forwarder, _ = make_forwarder(world.registry)
        parts = gateway_parts(world.registry, forwarder, real=True)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            gateway = await world.until(lambda: programmed(world.registry))
            address, port = gateway["status"]["addresses"][0]["value"], gateway["spec"]["listeners"][0]["port"]
            async with aiohttp.ClientSession() as session:
                await run(world, f"http://{address}:{port}", session)
        finally:
            for task in tasks:
                task.cancel()
            for end in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(end, asyncio.CancelledError), end
            await forwarder.close()
            await world.close()

    asyncio.run(told())


def programmed(registry: Registry) -> Object | None:
    gateway = registry.get(GATEWAYS, "local", "kube-system")
    conditions = (gateway.get("status") or {}).get("conditions") or ()
    return gateway if any((each["type"], each["status"]) == ("Programmed", "True") for each in conditions) else None


async def _named(request: web.Request) -> web.StreamResponse:
    told = {"host": request.host, "path": request.raw_path, "method": request.method, "added": request.headers.get("x")}
    return web.json_response({**told, "size": len(await request.read())})


async def _asks(session: aiohttp.ClientSession, url: str, host: str = "web.test", **options: Any) -> tuple[int, str]:
    method = options.pop("method", "GET")
    async with session.request(method, url, headers={"Host": host}, **options) as reply:
        return reply.status, await reply.text()


def test_requests_are_shared_out_by_weight_and_statuses_say_what_is_so() -> None:
    async def told(world: World, url: str, session: aiohttp.ClientSession) -> None:
        await world.serve("old", _named)
        await world.serve("new", _named)
        await world.serve("empty", None)
        accepted = world.registry.get(CLASSES, "flotilla-local")["status"]["conditions"][0]
        assert (accepted["type"], accepted["status"]) == ("Accepted", "True")
        assert (await _asks(session, url))[0] == 404
        world.make(route("web", backends(old=80, new=20), hostnames=("web.test",)))
        good = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
        await world.until(lambda: world.conditions("web") == good)
        listener = await world.until(lambda: _listener(world, attached=1))
        assert listener["supportedKinds"] == [{"group": GROUP, "kind": "HTTPRoute"}]
        answers = [await _asks(session, f"{url}/v2/a%2Fb?x=%20y", method="POST", data=b"x" * 70_000) for _ in range(50)]
        told_back = '{"host": "web.test", "path": "/v2/a%2Fb?x=%20y", "method": "POST", "added": null, "size": 70000}'
        assert set(answers) == {(200, told_back)}
        assert world.got == {"old": 40, "new": 10}
        assert (await _asks(session, url, host="other.test"))[0] == 404
        for name, rule, reason, status in (
            ("missing", backends(nobody=1), "BackendNotFound", 500),
            ("zero", backends(old=0), "ResolvedRefs", 500),
            ("empty", backends(empty=1), "ResolvedRefs", 503),
        ):
            world.make(route(name, rule, hostnames=(f"{name}.test",)))
            await world.until(
                lambda name=name, reason=reason: world.conditions(name).get("ResolvedRefs", "")[1:] == (reason,)
            )
            assert world.conditions(name)["Accepted"][0] == "True"
            assert (await _asks(session, url, host=f"{name}.test"))[0] == status
        await world.serve("nobody", _named)
        await world.until(lambda: world.conditions("missing") == good)
        assert (await _asks(session, url, host="missing.test"))[0] == 200
        refused = (("port", {"port": 9}, "NoMatchingParent"), ("section", {"sectionName": "x"}, "NoMatchingParent"))
        for name, parent, reason in refused:
            world.make(route(name, backends(old=1), parent={**LOCAL, **parent}))
            await world.until(
                lambda name=name, reason=reason: world.conditions(name).get("Accepted") == ("False", reason)
            )
        # Nobody's controller speaks of a Gateway that is not there.
        world.make(route("unknown", backends(old=1), parent={"name": "unknown"}))
        world.make(route("last", backends(old=1)))
        await world.until(lambda: world.conditions("last"))
        assert world.conditions("unknown") == {}

    story(told)


def _listener(world: World, *, attached: int) -> Object | None:
    (listener,) = world.registry.get(GATEWAYS, "local", "kube-system")["status"]["listeners"]
    return listener if listener["attachedRoutes"] == attached else None


def test_a_mirror_gets_copies_and_neither_delays_nor_fails_anything() -> None:
    async def told(world: World, url: str, session: aiohttp.ClientSession) -> None:
        held = asyncio.Event()
        bodies: list[int] = []

        async def hangs(request: web.Request) -> web.StreamResponse:
            bodies.append(len(await request.read()))
            with suppress(TimeoutError):
                await asyncio.wait_for(held.wait(), 20)
            return web.Response(status=500)

        async def breaks(request: web.Request) -> web.StreamResponse:
            request.transport.abort() if request.transport else None
            raise ConnectionResetError

        await world.serve("web", _named)
        await world.serve("hangs", hangs)
        await world.serve("breaks", breaks)
        added = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "1"}]}}
        rule = {**backends(web=1), "filters": [mirror("hangs"), mirror("breaks"), mirror("absent"), added]}
        world.make(route("web", rule))
        await world.until(lambda: world.conditions("web"))
        assert world.conditions("web")["ResolvedRefs"] == ("False", "BackendNotFound")
        for _ in range(40):
            status, text = await _asks(session, url, data=b"abc", method="POST")
            assert (status, '"added": "1"' in text) == (200, True)
        await world.until(lambda: len(bodies) >= 30)
        assert set(bodies) == {3} and world.got["web"] == 40
        # Those on their way are bounded, and no request waits for one.
        for _ in range(60):
            assert (await _asks(session, url))[0] == 200
        assert world.got["hangs"] <= 64
        held.set()

    story(told)


def test_a_gateway_that_goes_answers_no_more() -> None:
    async def told(world: World, url: str, session: aiohttp.ClientSession) -> None:
        world.registry.delete(GATEWAYS, "local", "kube-system")

        async def refused() -> bool:
            try:
                await _asks(session, url)
            except aiohttp.ClientError:
                return True
            return False

        for _ in range(500):
            if await refused():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the deleted Gateway still answers")

    story(told)
