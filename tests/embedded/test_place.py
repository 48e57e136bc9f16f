"""Where Flotilla listens and by which address it is found: what is asked for, what follows, what is refused."""

import http.server
import threading

import pytest

from apps.core.text.publicurl import host_of, is_loopback, problem_of
from controlplane.embedded.errors import RefusedError
from controlplane.embedded.place import Place, answers, place_of


@pytest.mark.parametrize(
    ("host", "public_url", "listened", "local", "public", "pods"),
    [
        ("", "", "127.0.0.1", "http://127.0.0.1:8000", "http://127.0.0.1:8000", "for a cluster elsewhere set"),
        ("localhost", "", "127.0.0.1", "http://127.0.0.1:8000", "http://127.0.0.1:8000", "this machine's alone"),
        ("0.0.0.0", "", "0.0.0.0", "http://127.0.0.1:8000", "http://192.168.1.20:8000", "is what pods must reach"),
        ("::", "", "::", "http://127.0.0.1:8000", "http://192.168.1.20:8000", "is what pods must reach"),
        ("10.0.0.5", "", "10.0.0.5", "http://10.0.0.5:8000", "http://10.0.0.5:8000", "is what pods must reach"),
        ("fd00::5", "", "fd00::5", "http://[fd00::5]:8000", "http://[fd00::5]:8000", "is what pods must reach"),
        ("[fd00::5]", "", "fd00::5", "http://[fd00::5]:8000", "http://[fd00::5]:8000", "is what pods must reach"),
        ("", "https://f.example/", "127.0.0.1", "http://127.0.0.1:8000", "https://f.example", "what pods must reach"),
        (
            "0.0.0.0",
            "http://localhost:8000",
            "0.0.0.0",
            "http://127.0.0.1:8000",
            "http://localhost:8000",
            "set FLOTILLA_P",
        ),
    ],
)
def test_a_place_follows_from_what_was_asked_for(
    host: str, public_url: str, listened: str, local: str, public: str, pods: str
) -> None:
    place = place_of(host, 8000, public_url, lambda: "192.168.1.20")
    assert (place.host, place.local_url, place.public_url) == (listened, local, public)
    assert pods in place.for_pods() and place.for_pods().startswith(public)
    assert {"127.0.0.1", "localhost", host_of(public), host_of(local)} == set(place.allowed_hosts("").split(","))
    assert place.is_open == (listened != "127.0.0.1")


def test_a_machine_without_a_network_is_its_own_only() -> None:
    assert place_of("0.0.0.0", 8000, "", lambda: "").public_url == "http://127.0.0.1:8000"


def test_hosts_that_a_person_allows_are_added() -> None:
    place = Place("127.0.0.1", 8000, "https://f.example")
    assert place.allowed_hosts("other.example, f.example,") == "127.0.0.1,localhost,f.example,other.example"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://flotilla.example.com", ""),
        ("http://192.168.1.20:8000/", ""),
        ("http://[fd00::5]:8000", ""),
        ("http://host_with_underscore", ""),
        ("flotilla.example.com", "begins neither"),
        ("flotilla.example.com:8000", "begins neither"),
        ("ftp://flotilla.example.com", "begins neither"),
        ("http://", "names no host"),
        ("https://:8000", "names no host"),
        ("http://me:secret@host", "user name"),
        ("http://host/flotilla", "has a path"),
        ("http://host?x=1", "has a path"),
        ("http://host:99999", "can't be read"),
        ("http://host:port", "can't be read"),
        ("http://[fd00::5", "can't be read"),
        ("http://host:0", "port 0"),
        ("http://ho st", "space"),
        ("http://host,other", "neither a name nor an address"),
        ("http://*.example.com", "neither a name nor an address"),
        ("http://-host", "neither a name nor an address"),
        ("http://300.1.2.3", "neither a name nor an address"),
        ("http://0.0.0.0:8000", "listening everywhere"),
        ("http://[::]:8000", "listening everywhere"),
        ("http://224.0.0.1", "multicast"),
    ],
)
def test_an_address_that_nobody_can_use_is_refused(url: str, problem: str) -> None:
    assert problem in problem_of(url) if problem else problem_of(url) == ""
    if problem:
        with pytest.raises(RefusedError, match=r"FLOTILLA_PUBLIC_URL=.* Write for instance http://"):
            place_of("", 8000, url, lambda: "")


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(RefusedError) as refused:
        place_of("", 8000, "http://me:secret@host", lambda: "")
    assert "http://…@host has a user name" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["flotilla", "1.2.3", "224.0.0.1", "fe80::1%eth0", "*", "http://127.0.0.1"])
def test_a_host_that_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(RefusedError, match="is no address to listen on"):
        place_of(host, 8000, "", lambda: "")


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:8000", True),
        ("https://LOCALHOST", True),
        ("http://flotilla.localhost", True),
        ("https://127.0.0.5:6443", True),
        ("https://[::1]:6443", True),
        ("https://0.0.0.0:6443", True),
        ("https://10.0.0.1", False),
        ("https://localhost.example.com", False),
        ("https://[fd00::1]", False),
        ("https://[broken", False),
        ("", False),
    ],
)
def test_which_urls_mean_only_the_machine_itself(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


class Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args: object) -> None:
        """Silent."""


def test_what_answers_at_an_address_is_told_apart() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        assert answers(f"http://127.0.0.1:{server.server_port}") == "something else answers there"
        server.shutdown()
    assert "refused" in answers(f"http://127.0.0.1:{server.server_port}")
