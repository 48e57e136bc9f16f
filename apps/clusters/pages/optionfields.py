"""Form fields for options of pods, behind "Advanced": what is short as words and pairs, what has a shape as YAML."""

from collections.abc import Mapping
from functools import partialmethod
from typing import Any

import yaml
from django import forms

from apps.clusters import podoptions
from apps.clusters.podoptions.words import secret_line
from apps.core.errors import Invalid
from apps.core.pages.formtext import pairs
from apps.core.text import safeyaml

_SHAPED = ("tolerations", "affinity", "topology_spread", "volumes")


def _lines(rows: int, example: str, help_text: str, most: int = 20_000) -> forms.CharField:
    attrs = {"rows": rows, "class": "mono", "spellcheck": "false", "placeholder": example}
    return forms.CharField(required=False, max_length=most, widget=forms.Textarea(attrs=attrs), help_text=help_text)


class PodOptionsForm(forms.Form):
    """The base of forms that launch pods. `form.html` folds the fields that `advanced` names."""

    advanced: tuple[str, ...] = podoptions.KEYS

    node_selector = _lines(2, "accelerator=a100", "label=value, one a line: only nodes that have them all.", most=5000)
    tolerations = _lines(
        3,
        "- key: nvidia.com/gpu\n  operator: Exists\n  effect: NoSchedule",
        "YAML, as in a pod's spec: the taints of nodes that don't keep it off.",
    )
    affinity = _lines(
        4,
        "nodeAffinity:\n  requiredDuringSchedulingIgnoredDuringExecution:\n    nodeSelectorTerms:\n"
        "    - matchExpressions: [{key: zone, operator: In, values: [a]}]",
        "YAML, as in a pod's spec: the nodes and pods that it needs, prefers or avoids.",
    )
    topology_spread = _lines(
        2,
        "- topologyKey: topology.kubernetes.io/zone\n  maxSkew: 1",
        "YAML, as in a pod's spec: spread evenly over what a label of nodes tells apart.",
    )
    priority_class = forms.CharField(
        label="Priority class", required=False, max_length=253, help_text="A PriorityClass of the cluster."
    )
    secret_env = _lines(
        2,
        "S3_KEY=s3/access-key",
        "NAME=secret/key, one a line: an entry of a Secret in the namespace. A ? behind it lets the Secret be missing.",
    )
    volumes = _lines(
        3,
        "- mountPath: /data\n  persistentVolumeClaim: {claimName: datasets}\n  readOnly: true",
        "YAML: emptyDir, persistentVolumeClaim, configMap or secret as in a pod's spec, with mountPath.",
    )
    image_pull_secrets = forms.CharField(
        label="Image pull secrets", required=False, max_length=3000, help_text="Names of Secrets, with spaces between."
    )
    image_pull_policy = forms.ChoiceField(
        label="Image pull policy",
        required=False,
        choices=[("", "As Kubernetes chooses"), *((word, word) for word in podoptions.PULL_POLICIES)],
    )

    @property
    def advanced_open(self) -> bool:
        """Whether the fold is open from the start: something is said in it, or wrong."""
        return any(name in self.errors or self[name].value() for name in self.advanced)

    def clean_node_selector(self) -> Any:
        """Pairs out of lines."""
        return self._checked("node_selector", pairs(self.cleaned_data["node_selector"]))

    def clean_priority_class(self) -> Any:
        """A name."""
        return self._checked("priority_class", self.cleaned_data["priority_class"].strip())

    def clean_secret_env(self) -> Any:
        """References out of lines."""
        return self._checked("secret_env", _references(self.cleaned_data["secret_env"]))

    def clean_image_pull_secrets(self) -> Any:
        """Names out of words."""
        return self._checked("image_pull_secrets", self.cleaned_data["image_pull_secrets"].replace(",", " ").split())

    def _clean_shaped(self, name: str) -> Any:
        """Read an option that has a shape from its YAML. Raises ValidationError."""
        try:
            value = safeyaml.load(self.cleaned_data[name])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        return self._checked(name, value)

    clean_tolerations = partialmethod(_clean_shaped, "tolerations")
    clean_affinity = partialmethod(_clean_shaped, "affinity")
    clean_topology_spread = partialmethod(_clean_shaped, "topology_spread")
    clean_volumes = partialmethod(_clean_shaped, "volumes")

    def options(self) -> dict[str, Any]:
        """The options for the services: all of them, also the empty ones, so that an edit can take one away."""
        return {key: self.cleaned_data[key] for key in podoptions.KEYS}

    def _checked(self, name: str, value: Any) -> Any:
        """The value as it would be stored. All fields are checked here, so that all that is wrong is said at once."""
        try:
            return podoptions.parse({name: value or None}).everything()[name]
        except Invalid as error:
            raise forms.ValidationError(error.sentence) from error


def _references(text: str) -> dict[str, dict[str, Any]]:
    """Variables and the entries of Secrets that they stand for. Raises ValidationError."""
    refs: dict[str, dict[str, Any]] = {}
    for name, said in pairs(text).items():
        secret, slash, key = said.strip().rpartition("/")
        if not slash:
            raise forms.ValidationError(f"{name} needs a Secret and its entry: {name}=secret/key.")
        optional = {"optional": True} if key.endswith("?") else {}
        refs[name] = {"secretName": secret, "key": key.removesuffix("?"), **optional}
    return refs


def initial_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """The texts that stand for what a stored spec asks for."""
    # Postgres orders keys by their length: parsed, they are in the order in which people write them.
    spec = podoptions.parse(spec).everything()
    texts = {name: yaml.safe_dump(spec[name], sort_keys=False) for name in _SHAPED if spec[name]}
    if selector := spec["node_selector"]:
        texts["node_selector"] = "\n".join(f"{key}={value}" for key, value in selector.items())
    if refs := spec["secret_env"]:
        texts["secret_env"] = "\n".join(secret_line(name, ref) for name, ref in refs.items())
    if priority := spec["priority_class"]:
        texts["priority_class"] = priority
    if names := spec["image_pull_secrets"]:
        texts["image_pull_secrets"] = " ".join(names)
    return texts | ({"image_pull_policy": policy} if (policy := spec["image_pull_policy"]) else {})
