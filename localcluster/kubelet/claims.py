"""The volumes behind PersistentVolumeClaims: a folder each, which outlives the pods that mount it, and ends with its
claim."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcluster.claims import claims_of, is_bound
from localcluster.errors import StatusError
from localcluster.kubelet import sandbox
from localcluster.kubelet.volumes import MountError

if TYPE_CHECKING:
    from localcluster.registry import Registry
    from localcluster.store import Change

Object = dict[str, Any]
_CLAIMS = "persistentvolumeclaims"


class Claims:
    """The folders below `home`, by the names of volumes."""

    def __init__(self, registry: Registry, home: Path) -> None:
        self._registry = registry
        self._home = home

    def listen(self) -> Callable[[], None]:
        """Remove the folders of claims that are gone, and from now on of those that go; the way to end that."""
        kept = {claim["spec"].get("volumeName") for claim in self._registry.list(_CLAIMS)}
        for folder in self._home.iterdir() if self._home.is_dir() else ():
            if folder.name not in kept:
                sandbox.remove(folder)
        return self._registry.store.listen((_CLAIMS,), self._changed)

    def _changed(self, change: Change) -> None:
        name = change.stored.obj["spec"].get("volumeName")
        if change.type == "DELETED" and name:
            asyncio.get_running_loop().run_in_executor(None, sandbox.remove, self._home / name)

    def folders(self, pod: Object) -> dict[str, Path]:
        """The folders of the claims that a pod mounts, made where they are new, by the volume's name in the pod.

        Raises MountError for a claim that is not there, or has no volume.
        """
        found = {name: self._folder(pod["metadata"]["namespace"], name) for name in claims_of(pod)}
        volumes = [each for each in pod["spec"].get("volumes") or [] if each.get("persistentVolumeClaim")]
        return {each["name"]: found[each["persistentVolumeClaim"]["claimName"]] for each in volumes}

    def _folder(self, namespace: str, name: str) -> Path:
        try:
            claim = self._registry.get(_CLAIMS, name, namespace)
        except StatusError as error:
            raise MountError(f'persistentvolumeclaim "{name}" not found') from error
        if not is_bound(claim):
            raise MountError(f'persistentvolumeclaim "{name}" is not bound')
        folder = self._home / str(claim["spec"]["volumeName"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder
