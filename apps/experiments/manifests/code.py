"""The init step that brings a commit of a git repository into a run's pod, and the volume that it needs. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/
"""

from typing import Any

from apps.experiments.specs.code import FOLDER, MOUNT, STEP, VOLUME, Code

MOUNTED = {"name": VOLUME, "mountPath": MOUNT}
"""The mount, which the run's container has, too."""
CODE_VOLUME: dict[str, Any] = {"name": VOLUME, "emptyDir": {}}
# One commit where the server can give one alone. A short name of a commit, and a server of plain files, need all.
# The last words of the step are the commit, which the run's page and REST tell.
_SCRIPT = """
set -eu
mkdir -p "$FLOTILLA_CODE" && cd "$FLOTILLA_CODE" && git init -q .
git config remote.origin.url "$GIT_URL"
if [ -n "${GIT_PASSWORD:-}" ]; then
  git config credential.helper '!f() { echo "username=${GIT_USERNAME:-git}"; echo "password=$GIT_PASSWORD"; }; f'
fi
commit=FETCH_HEAD
if ! git fetch -q --depth 1 origin "$GIT_REF" 2>/dev/null; then
  git fetch -q --tags origin '+refs/heads/*:refs/remotes/origin/*'
  git remote set-head origin --auto >/dev/null
  commit=$(git rev-parse -q --verify "origin/$GIT_REF^{commit}" || git rev-parse -q --verify "$GIT_REF^{commit}") || {
    echo "The repository has no branch, tag or commit $GIT_REF." >&2
    exit 1
  }
fi
git checkout -q --detach "$commit"
if [ ! -d "./$GIT_FOLDER" ]; then
  echo "There is no folder $GIT_FOLDER in the commit $(git rev-parse HEAD)." >&2
  exit 1
fi
git rev-parse HEAD >/dev/termination-log
"""


def code_step(code: Code, image: str, amounts: dict[str, str]) -> dict[str, Any]:
    """The pod's init step. `amounts` are the run's own: a pod asks for what its largest step asks for."""
    env: list[dict[str, Any]] = [
        {"name": "HOME", "value": MOUNT},
        {"name": "FLOTILLA_CODE", "value": FOLDER},
        {"name": "GIT_TERMINAL_PROMPT", "value": "0"},
        {"name": "GIT_URL", "value": code.url},
        {"name": "GIT_REF", "value": code.ref},
        {"name": "GIT_FOLDER", "value": code.folder},
    ]
    if code.secret:
        env += [
            {"name": f"GIT_{key.upper()}", "valueFrom": {"secretKeyRef": {"name": code.secret, "key": key}}}
            for key in ("username", "password")
        ]
    return {
        "name": STEP,
        "image": image,
        "command": ["/bin/sh", "-c", _SCRIPT],
        "env": env,
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [MOUNTED],
    }
