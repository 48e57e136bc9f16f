"""The folded fields of forms that launch pods: nothing is lost on the way there, back, or when something is wrong."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.clusters import podoptions
from apps.clusters.pages.optionfields import PodOptionsForm, initial_of
from apps.clusters.podoptions.words import rows
from tests.clusters.podoptions.test_podoptions import EVERYTHING


def test_what_is_stored_comes_back_from_the_form_as_it_was() -> None:
    form = PodOptionsForm(initial_of(EVERYTHING))
    assert form.is_valid(), form.errors
    assert form.options() == EVERYTHING and form.advanced_open


def test_every_example_in_a_box_is_accepted_as_it_stands() -> None:
    examples = {name: field.widget.attrs.get("placeholder", "") for name, field in PodOptionsForm().fields.items()}
    form = PodOptionsForm(examples)
    assert form.is_valid() and all(form.options()[name] for name, example in examples.items() if example), form.errors


def test_an_empty_form_says_that_nothing_is_wanted() -> None:
    form = PodOptionsForm({})
    assert form.is_valid() and not form.advanced_open
    assert form.options() == podoptions.NO_OPTIONS.everything()
    assert not PodOptionsForm().advanced_open and PodOptionsForm(initial={"volumes": "x"}).advanced_open


def test_all_that_is_wrong_is_said_at_once_each_at_its_field() -> None:
    wrong = {
        "node_selector": "a b=c",
        "tolerations": "- effect: Never\n  key: a",
        "affinity": "nodeAffinity: [",
        "topology_spread": "- topologyKey: zone\n  maxSkew: none",
        "priority_class": "High!",
        "secret_env": "S3_KEY=s3",
        "volumes": "- {mountPath: /a, hostPath: {path: /}}",
        "image_pull_secrets": "Registry",
        "image_pull_policy": "Sometimes",
    }
    form = PodOptionsForm(wrong)
    assert not form.is_valid() and form.advanced_open
    said = {name: errors[0] for name, errors in form.errors.items()}
    assert said["affinity"].startswith("This is not valid YAML (line ")
    assert said["volumes"].startswith("hostPath is refused: it would open the node's own files.")
    assert said["tolerations"].startswith("tolerations[0].effect is NoSchedule, PreferNoSchedule or NoExecute.")
    assert said["secret_env"] == "S3_KEY needs a Secret and its entry: S3_KEY=secret/key."
    assert set(said) == set(wrong)
    assert {name: form[name].value() for name in wrong} == wrong


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "[" * 50, "- !!python/object:os.system {}", "a: b: c", "\x00"])
def test_yaml_that_is_dangerous_or_none_is_refused(text: str) -> None:
    form = PodOptionsForm({"volumes": text})
    assert not form.is_valid() and set(form.errors) == {"volumes"}


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60) | st.from_regex(r"[-\[\]{}:, a-z0-9\n!&*'\"#|>~]{0,60}", fullmatch=True))
def test_no_text_breaks_a_field(text: str) -> None:
    form = PodOptionsForm(dict.fromkeys(podoptions.KEYS, text))
    # Nothing is raised, and whatever is wrong is said at the field that it is wrong in.
    assert form.is_valid() or set(form.errors) <= set(podoptions.KEYS)


def test_words_for_all_options() -> None:
    said = {row.label: row.lines for row in rows(EVERYTHING)}
    assert said == {
        "Node selector": ["accelerator=a100", "example.org/pool="],
        "Tolerations": ["nvidia.com/gpu:NoSchedule", "team=vision:any effect", "every taint:NoExecute for 1 min"],
        "Affinity": [
            "needs a node where topology.kubernetes.io/zone is eu-1 or eu-2 and gpus > 4 or metadata.name is node-1",
            "prefers a node where ssd is there (weight 10)",
            "needs to be away from pods where app=x, by kubernetes.io/hostname",
            "prefers to be away from pods where a is not b, by topology.kubernetes.io/zone (weight 1)",
        ],
        "Topology spread": [
            "needs an even spread by topology.kubernetes.io/zone over 3 at least, to within 2",
            "prefers an even spread by kubernetes.io/hostname, to within 1",
        ],
        "Priority class": ["serving"],
        "Secret variables": ["EXTRA=more/x?", "S3_KEY=s3/access.key"],
        "Volumes": [
            "/scratch ← an empty folder of 10Gi",
            "/dev/shm ← memory of 1Gi",
            "/data ← claim datasets/digits/v1 (read-only)",
            "/etc/app ← ConfigMap app",
            "/keys ← Secret s3",
        ],
        "Pull secrets": ["registry", "other.registry"],
        "Pull policy": ["Always"],
    }
    assert rows({}) == rows({"image": "x"}) == []


def test_initial_texts_are_what_a_person_would_write() -> None:
    texts = initial_of(EVERYTHING)
    assert texts["node_selector"] == "accelerator=a100\nexample.org/pool="
    assert texts["volumes"].startswith("- name: scratch\n  mountPath: /scratch\n  emptyDir:\n    sizeLimit: 10Gi\n")
    assert yaml.safe_load(texts["affinity"]) == EVERYTHING["affinity"]
