"""The folders of a pod, and what a container is started with: command, environment, working directory.

<data>/pods/<namespace>_<name>_<uid>/
    volumes/<volume>/                shared by the pod's containers
    <container>/root/<mountPath>     links to volumes (see localcluster.kubelet.volumes)
    <container>/work/                the working directory: a fresh copy of the image's files for every run; read-only,
                                     as the image's folder is to all but root, unless the container runs as root
    <container>/logs/<restart>.log
    <container>/pid                  the record of the running process
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.kubelet import inside as inside_program
from localcluster.kubelet import volumes
from localcluster.kubelet.env import ConfigError, Surroundings, expand, resolve
from localcluster.kubelet.images import Image
from localcluster.kubelet.strays import ID_VARIABLE

Object = Mapping[str, Any]

# The program that gives a container its pod's own names.
_INSIDE = inside_program.__file__
NO_FOLDERS: Mapping[str, Path] = {}
_IGNORED = shutil.ignore_patterns("__pycache__", ".git", ".venv")


@dataclass(frozen=True)
class Launch:
    """Everything that a start needs. `root`: the container may write where permissions say no."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path
    root: bool = True
    inside: tuple[str, ...] = ()
    """The program that gives it a hosts file of its own, where it has one."""


def pod_folder(data: Path, pod: Object) -> Path:
    """The folder of a pod's files. The uid keeps two pods of one name apart."""
    metadata = pod["metadata"]
    return data / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def runs_as_root(pod: Object, container: Object) -> bool:
    """May a container write into its image's folders? The images of this world belong to root."""
    context = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    return not any(context.get(key) for key in ("runAsNonRoot", "runAsUser", "readOnlyRootFilesystem"))


def has_names(pod: Object) -> bool:
    """Has the pod a name of its own in its cluster, and so finds those of others?"""
    return bool(pod["spec"].get("hostname") and pod["spec"].get("subdomain"))


def lock(folder: Path) -> None:
    """Nobody but root may write anything in a folder."""
    for where, _, names in os.walk(folder):
        for path in (Path(where), *(Path(where, name) for name in names)):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)


def unlock(folder: Path) -> None:
    """Everything in a folder may be removed again."""
    for where, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):  # it is gone, or was made by another user: then it stays
            os.chmod(where, 0o700)  # noqa: PTH101 - as it comes from os.walk


def remove(folder: Path) -> None:
    """Remove a folder of which parts may be locked."""
    unlock(folder)
    shutil.rmtree(folder, ignore_errors=True)


class Sandbox:
    """The files of one pod. The methods that write are slow (disk) and are meant for a thread."""

    def __init__(self, data: Path, pod: Object) -> None:
        self.folder = pod_folder(data, pod)

    def container(self, name: str) -> Path:
        """The folder of one container."""
        return self.folder / name

    def logs(self, name: str) -> Path:
        """The folder of one container's logs."""
        return self.container(name) / "logs"

    def record(self, name: str) -> Path:
        """The file that names the running process."""
        return self.container(name) / "pid"

    @property
    def hosts(self) -> Path:
        """The pod's own hosts file, where it has one."""
        return self.folder / "hosts"

    def write_hosts(self, text: str) -> None:
        """Change the hosts file in place: what has it mounted keeps seeing it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.hosts, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, os.write(descriptor, text.encode()))
        finally:
            os.close(descriptor)

    def termination_log(self, name: str) -> Path:
        """The file in which the container may leave its termination message."""
        return self.container(name) / "root" / volumes.TERMINATION_LOG.lstrip("/")

    def write_volumes(self, contents: Mapping[str, dict[str, volumes.File] | None]) -> None:
        """Bring the files of every volume up to date."""
        for name, files in contents.items():
            folder = self.folder / "volumes" / name
            folder.mkdir(parents=True, exist_ok=True)
            if files is not None:
                volumes.write(folder, files)

    def prepare(
        self, pod: Object, container: Object, image: Image, claimed: Mapping[str, Path] = NO_FOLDERS
    ) -> dict[str, str]:
        """Make root and working directory of a container; mount path → real path. Raises MountError.

        `claimed` are the folders of volumes that outlive the pod, by the volumes' names.
        """
        home = self.container(container["name"])
        work = home / "work"
        remove(work)
        if image.files is not None:
            shutil.copytree(image.files, work, ignore=_IGNORED)
        else:
            work.mkdir(parents=True)
        if not runs_as_root(pod, container):
            lock(work)
        (home / "tmp").mkdir(exist_ok=True)
        folders = {
            volume["name"]: self.folder / "volumes" / volume["name"] for volume in pod["spec"].get("volumes") or []
        }
        folders |= {
            v["name"]: Path(v["hostPath"]["path"]) for v in pod["spec"].get("volumes") or [] if v.get("hostPath")
        }
        folders |= claimed
        mapping = volumes.place(container, home / "root", folders)
        last_words = self.termination_log(container["name"])
        last_words.parent.mkdir(parents=True, exist_ok=True)
        last_words.unlink(missing_ok=True)
        mapping[container.get("terminationMessagePath") or volumes.TERMINATION_LOG] = str(last_words)
        return mapping

    def remove(self) -> None:
        """The pod is gone, and its files with it."""
        remove(self.folder)


def launch(
    pod: Object,
    container: Object,
    image: Image,
    sandbox: Sandbox,
    mapping: Mapping[str, str],
    around: Surroundings,
    container_id: str,
) -> Launch:
    """Command, environment and working directory of a container. Raises ConfigError."""
    home = sandbox.container(container["name"])
    variables = resolve(container, pod, around)
    address = (pod.get("status") or {}).get("podIP", "")
    work = home / "work"
    env = {
        "PATH": image.search_path(),
        "HOME": str(work),
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        # All pods share the loopback device: a server must bind to its own pod's address, or the next one fails.
        "HOST": address,
        "LOCALCLUSTER_POD_IP": address,
        "LOCALCLUSTER_ROOT": str(home / "root"),
        **(around.links if pod["spec"].get("enableServiceLinks", True) else {}),
        **image.env,
        **{name: volumes.rewrite(value, mapping) for name, value in variables.items()},
        ID_VARIABLE: container_id,
    }
    words = container.get("command") or list(image.command)
    if container.get("command") or container.get("args"):
        words = [*words, *(container.get("args") or [])]
    else:
        words = [*words, *image.args]
    if not words:
        raise ConfigError("no command specified")
    argv = [volumes.rewrite(expand(str(word), env), mapping) for word in words]
    cwd = Path(volumes.rewrite(container["workingDir"], mapping)) if container.get("workingDir") else work
    # A working directory of the image (/app) is its private copy; only a mounted one is somewhere else.
    cwd = cwd if str(cwd).startswith(str(home)) else work
    inside: tuple[str, ...] = ()
    if has_names(pod):
        inside = (sys.executable, "-I", "-S", _INSIDE, str(sandbox.hosts), pod["spec"]["hostname"])
    return Launch(argv, env, cwd, runs_as_root(pod, container), inside)
