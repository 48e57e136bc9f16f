"""A submitted kubeconfig is not trusted: each way to abuse one has a row here."""

import base64
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from apps.clusters.connect import kubeconfig
from apps.clusters.kube.connection import Connection, tls_context
from apps.clusters.kube.errors import Unreachable
from apps.core.errors import Invalid
from tests.clusters.fakeapi import certificate

CA, KEY = certificate()
OTHER_CA, OTHER_KEY = certificate()
SERVER = "https://k8s.example.org:6443"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document(user: Any = None, cluster: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster or {"server": SERVER, "certificate-authority-data": b64(CA)}}],
        "users": [{"name": "u", "user": user if user is not None else {"token": "secret-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **more,
    }


def text(*args: Any, **kwargs: Any) -> str:
    return yaml.safe_dump(document(*args, **kwargs))


def test_a_token_is_taken() -> None:
    parsed = kubeconfig.parse(text())
    assert (parsed.server, parsed.ca, parsed.token, parsed.credential_kind) == (
        SERVER,
        CA.decode(),
        "secret-token",
        "token",
    )


def test_a_client_certificate_with_its_key_is_taken() -> None:
    parsed = kubeconfig.parse(text({"client-certificate-data": b64(CA), "client-key-data": b64(KEY)}))
    assert parsed.client_certificate == CA.decode() and parsed.client_key == KEY.decode()
    assert parsed.credential_kind == "certificate"


def test_secrets_are_in_no_representation() -> None:
    assert "secret-token" not in repr(kubeconfig.parse(text()))


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"exec": {"command": "sh", "args": ["-c", "id"]}}, "run a command"),
        ({"token": "t", "exec": {"command": "sh"}}, "run a command"),
        ({"auth-provider": {"name": "gcp"}}, "plug-in"),
        ({"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}, "file on the Flotilla server"),
        ({"client-certificate": "/etc/x.pem", "client-key": "/etc/x.key"}, "file on the Flotilla server"),
        ({"token": "t", "client-key": "/etc/shadow"}, "file on the Flotilla server"),
        ({"username": "root", "password": "hunter2"}, "passwords"),
        ({"token": "t", "as": "system:admin"}, "impersonation"),
        ({"token": "t", "as-groups": ["system:masters"]}, "impersonation"),
        ({"token": "t", "something-new": "x"}, "does not know"),
        ({}, "no credential"),
        ({"token": ""}, "no credential"),
        ({"token": None}, "no credential"),
        ("token", "user 'u' must be an object"),
        ({"token": "a b"}, "white space"),
        ({"token": "a\r\nX-Injected: 1"}, "white space"),
        ({"token": ["a"]}, "must be text"),
        ({"client-certificate-data": b64(CA)}, "needs both"),
        ({"client-key-data": b64(KEY)}, "needs both"),
        ({"client-certificate-data": "%%%", "client-key-data": b64(KEY)}, "not base64"),
        ({"client-certificate-data": b64(b"hello"), "client-key-data": b64(KEY)}, "no certificate"),
        ({"client-certificate-data": b64(CA), "client-key-data": b64(b"hello")}, "not an unencrypted private key"),
        ({"client-certificate-data": b64(CA), "client-key-data": b64(OTHER_KEY)}, "does not belong"),
    ],
)
def test_a_user_entry_is_refused_with_the_reason(user: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as caught:
        kubeconfig.parse(text(user))
    assert caught.value.field == "kubeconfig"


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        ({"server": SERVER, "insecure-skip-tls-verify": True}, "identity would not be checked"),
        ({"server": SERVER, "proxy-url": "http://evil.example"}, "another server"),
        ({"server": SERVER, "certificate-authority": "/etc/passwd"}, "file on the Flotilla server"),
        ({"server": SERVER, "certificate-authority-data": b64(b"x")}, "no certificate"),
        ({"server": SERVER, "certificate-authority-data": "!"}, "not base64"),
        ({"certificate-authority-data": b64(CA)}, "no server address"),
        ({"server": "http://k8s.example.org"}, "https"),
        ({"server": "file:///etc/passwd"}, "https"),
        ({"server": "gopher://x"}, "https"),
        ({"server": "k8s.example.org:6443"}, "https"),
        ({"server": "https://user:pw@k8s.example.org"}, "user name or password"),
        ({"server": "https://"}, "https://host"),
        ({"server": "https://h/?a=b"}, "https://host"),
        ({"server": "https://h/#f"}, "https://host"),
        ({"server": "https://h:99999"}, "not a valid"),
        ({"server": "https://h:0"}, "https://host"),
        ({"server": "https://good.example\\@evil.example"}, "."),
        ({"server": 7}, "must be text"),
        ({"server": "https://例え.jp"}, "https://host"),
        ({"server": "https://h/é"}, "https://host"),
        ({"server": "https://h\0"}, "https://host"),
        ({"server": "https://h/\x01"}, "https://host"),
        ({"server": "https://h?"}, "https://host"),
        ({"server": "https://.h"}, "https://host"),
        ({"server": "https://a..b"}, "https://host"),
        ({"server": "https://[fe80::1%25eth0]"}, "https://host"),
        ({"server": f"https://h/{'a' * 500}"}, "https://host"),
        ({"server": SERVER, "tls-server-name": "a\0b"}, "not the name of a host"),
        ({"server": SERVER, "tls-server-name": ".a"}, "not the name of a host"),
        ({"server": SERVER, "tls-server-name": "a" * 254}, "not the name of a host"),
        ({"server": "https://[::1"}, "not a valid"),
        ({"server": "https://::1"}, "."),
        ({"server": "https://fd00::1:6443"}, "."),
        ({"server": "https://[fd00:::1]"}, "."),
        ({"server": SERVER, "tls-server-name": "fd00:::1"}, "not the name of a host"),
        ({"server": SERVER, "tls-server-name": "https://a"}, "not the name of a host"),
        ({"server": SERVER, "certificate-authority-data": "ÄÖÜ="}, "not base64"),
    ],
)
def test_a_cluster_entry_is_refused_with_the_reason(cluster: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        kubeconfig.parse(text(cluster=cluster))


@pytest.mark.parametrize(
    ("submitted", "reason"),
    [
        ("", "not a kubeconfig"),
        ("hello", "not a kubeconfig"),
        ("- 1\n- 2", "not a kubeconfig"),
        ("a: [1, 2", "not valid YAML"),
        ("a: &x [1]\nb: *x", "it has an alias"),
        ("!!python/object/apply:os.system ['id']", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: b\n" * 40_000, "too large"),
        (b"\xff\xfe\x00a", "not a kubeconfig"),
        (b"\x80", "not valid YAML"),
        (text(kind="Secret"), "kind is not Config"),
        (text(contexts=[]), "no contexts"),
        (text(contexts="x"), "must be a list"),
        (text(contexts=[{"context": {}}]), "must have a name"),
        (text(contexts=[{"name": "x"}]), "is empty"),
        (text(users=[]), "not in users"),
        (text(clusters=[]), "not in clusters"),
        (text(**{"current-context": "gone"}), "no context 'gone'"),
        (text(users=None), "user 'u' is not in users"),
        (text(users=[{"name": "u", "user": None}]), "There is no credential"),
        (text(users=[{"name": "u"}]), "There is no credential"),
        (text(clusters=[{"name": "c", "cluster": None}]), "has no server address"),
        (text(users=[{"name": "u", "user": {"token": word}} for word in "ab"]), "Two users are named 'u'"),
        (text(clusters=[document()["clusters"][0], document()["clusters"][0]]), "Two clusters are named 'c'"),
        (text(contexts=[{"name": "x", "context": {"cluster": word}} for word in "cd"]), "Two contexts are named 'x'"),
        (f"{text()}users: []\n", r"The key users stands twice in one object \(line \d+\)"),
        (text().replace("token: secret-token", "token: a\n    token: b"), r"The key token stands twice .*line \d+"),
        ("{s3cr3t: 1, s3cr3t: 2}", r"^A key stands twice in one object \(line 1\)\."),
        ("token: \ud83d", "half of an emoji"),
    ],
)
def test_what_is_no_usable_kubeconfig_is_refused(submitted: str | bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        kubeconfig.parse(submitted)


@pytest.mark.parametrize(
    "value",
    ["!!int ''", "!!float ''", "!!bool maybe", "!!timestamp soon", "2001-99-99", "0x_", ":".join("1" * 60000) + ".5"],
)
def test_a_value_that_belies_its_tag_is_no_crash(value: str) -> None:
    with pytest.raises(Invalid, match="not valid YAML"):
        kubeconfig.parse(f"{text()}\nodd: {value}")


@pytest.mark.parametrize(
    "server",
    [
        "https://k8s.example.org:6443/k8s/clusters/c-1",
        "https://[2001:db8::1]:6443",
        "https://[::1]",
        "https://10.0.0.9",
    ],
)
def test_addresses_that_people_have_are_taken(server: str) -> None:
    assert kubeconfig.parse(text(cluster={"server": server})).server == server


@pytest.mark.parametrize("name", ["kubernetes.default.svc", "2001:db8::1", "10.0.0.9", "KUBE_1.example"])
def test_names_for_the_certificate_that_people_have_are_taken(name: str) -> None:
    parsed = kubeconfig.parse(text(cluster={"server": SERVER, "tls-server-name": name}))
    assert Connection(parsed.server, "10.0.0.9", tls_server_name=parsed.tls_server_name).expected_name == name


WORDS = "# Zürich 東京 – première autorité\n".encode()


def test_of_a_bundle_with_words_between_the_blocks_the_blocks_are_kept() -> None:
    bundle = WORDS + CA + b"\0" + WORDS + OTHER_CA + WORDS
    user = {"client-certificate-data": b64(WORDS + CA), "client-key-data": b64(WORDS + KEY)}
    parsed = kubeconfig.parse(text(user, {"server": SERVER, "certificate-authority-data": b64(bundle)}))
    assert parsed.ca == CA.decode() + OTHER_CA.decode()
    assert (parsed.client_certificate, parsed.client_key) == (CA.decode(), KEY.decode())
    made = Connection(
        SERVER, "10.0.0.9", parsed.ca, client_certificate=parsed.client_certificate, client_key=parsed.client_key
    )
    assert len(tls_context(made).get_ca_certs()) == 2


def test_words_that_were_stored_before_are_a_refusal_and_no_crash() -> None:
    with pytest.raises(Unreachable, match="Register the cluster's credential again"):
        tls_context(Connection(SERVER, "10.0.0.9", (WORDS + CA).decode()))


@pytest.mark.parametrize("wrap", [lambda line: line, lambda line: textwrap.fill(line, 64), lambda line: f"  {line}\n"])
@pytest.mark.parametrize("style", ["", "|", ">"])
def test_base64_may_be_wrapped_as_people_do(wrap: Callable[[str], str], style: str) -> None:
    wrapped = textwrap.indent(wrap(b64(CA)), " " * 12)
    plain = text(cluster={"server": SERVER})
    given = plain.replace("    server:", f"    certificate-authority-data: {style}\n{wrapped}\n    server:")
    assert kubeconfig.parse(given).ca == CA.decode()


def test_yaml_errors_do_not_quote_secrets() -> None:
    with pytest.raises(Invalid) as caught:
        kubeconfig.parse("users:\n- user: {token: very-secret-token\n]")
    assert "very-secret-token" not in caught.value.sentence
    assert caught.value.__cause__ is None


def two_contexts(**more: Any) -> str:
    whole = document(**more)
    whole["users"].append({"name": "v", "user": {"token": "second"}})
    whole["contexts"].append({"name": "y", "context": {"cluster": "c", "user": "v"}})
    return yaml.safe_dump(whole)


def test_the_current_context_is_taken_unless_another_is_asked_for() -> None:
    assert kubeconfig.parse(two_contexts()).token == "secret-token"
    assert kubeconfig.parse(two_contexts(), "y").token == "second"


def test_several_contexts_without_a_current_one_ask_which() -> None:
    with pytest.raises(Invalid, match="several contexts: x, y"):
        kubeconfig.parse(two_contexts(**{"current-context": ""}))


def test_only_the_chosen_entries_are_judged() -> None:
    whole = document()
    whole["users"].append({"name": "other", "user": {"exec": {"command": "aws"}}})
    assert kubeconfig.parse(yaml.safe_dump(whole)).token == "secret-token"
