"""A registered address must not become a way into Flotilla's own network."""

import pytest

from apps.clusters.connect import addresses
from apps.core.errors import Invalid, Unavailable

PRIVATE = ["10.0.0.0/8", "fc00::/7", "100.64.0.0/10", "169.254.0.0/16", "0.0.0.0/0"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("2002:a9fe:a9fe::1", "metadata"),
        ("::169.254.169.254", "metadata"),
        ("::ffff:0:169.254.169.254", "metadata"),
        ("169.254.1.1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("0.0.0.0", "no address"),
        ("::", "no address"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
    ],
)
def test_some_addresses_are_refused_whatever_is_allowed(address: str, reason: str) -> None:
    assert reason in addresses.refusal(address, [*PRIVATE, "::/0"])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "fc00::1", "100.64.0.1"]
)
def test_private_addresses_need_the_allow_list(address: str) -> None:
    assert "CLUSTER_ALLOWED_NETWORKS" in addresses.refusal(address, [])
    assert addresses.refusal(address, [f"{address}/{32 if '.' in address else 128}"]) == ""


@pytest.mark.parametrize(
    "address",
    [
        *("::ffff:127.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.1.2.3"),
        *("64:ff9b:1::7f00:1", "fec0::1", "5f00::1", "3fff::1", "2001:db8::1", "192.0.0.8", "240.0.0.1"),
    ],
)
def test_what_looks_public_and_leads_inwards_is_private(address: str) -> None:
    assert "CLUSTER_ALLOWED_NETWORKS" in addresses.refusal(address, [])


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888"])
def test_public_addresses_are_taken(address: str) -> None:
    assert addresses.refusal(address, []) == ""


def test_the_first_checked_address_is_the_one_to_dial() -> None:
    asked = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["8.8.8.8", "8.8.4.4"]

    assert addresses.checked_address("https://k8s.example.org:6443/path", [], resolver) == "8.8.8.8"
    assert asked == [("k8s.example.org", 6443)]


def test_a_name_with_one_bad_address_is_not_trusted() -> None:
    with pytest.raises(Invalid, match=r"169\.254\.169\.254"):
        addresses.checked_address("https://x.example", [], lambda host, port: ["8.8.8.8", "169.254.169.254"])


@pytest.mark.parametrize("server", ["https://2130706433", "https://0x7f.1", "https://127.1"])
def test_odd_spellings_of_an_address_are_judged_by_what_they_resolve_to(server: str) -> None:
    with pytest.raises((Invalid, Unavailable)):
        addresses.checked_address(server, [])


def test_a_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(Unavailable, match="can't be resolved"):
        addresses.checked_address("https://no-such-name.invalid", [])
