"""A run's command that first tells Flotilla which Python packages there are where it runs. Pure.

The list is an artifact of the run, sent by its own token, as the program's own artifacts are. Nothing of it keeps the
command from being run: without Python, or where Flotilla can't be reached within some seconds, there is no list.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from apps.experiments.specs.commands import SHELL, by_shell
from apps.experiments.specs.packages import WHOLE

TIMEOUT_SECONDS = 5
_PYTHON = re.compile(r"python(\d(\.\d+)?)?")
# Kubernetes would expand a dollar sign before a bracket: there is none. What follows on the command line is run in its
# place, so that it has the same process and gets the signals. Only the first of several workers tells. A Python that is
# too old for the list can read it all the same, and goes on.
_PROGRAM = f"""
import os, sys
try:
    if os.environ.get("JOB_COMPLETION_INDEX", "0") == "0":
        import importlib.metadata, ssl, urllib.request
        env = os.environ
        found = {{(d.metadata["Name"] or "", d.version or "") for d in importlib.metadata.distributions()}}
        lines = ["%s==%s" % each for each in sorted(found, key=lambda each: each[0].lower()) if all(each)]
        text = "\\n".join(["# Python " + sys.version.split()[0]] + lines + [""])
        address = "%s/api/2.0/mlflow-artifacts/artifacts/%s/%s/artifacts/{WHOLE}" % (
            env["MLFLOW_TRACKING_URI"].rstrip("/"), env["MLFLOW_EXPERIMENT_ID"], env["MLFLOW_RUN_ID"])
        sent = urllib.request.Request(address, text.encode(), method="PUT", headers={{
            "Authorization": "Bearer " + env["MLFLOW_TRACKING_TOKEN"], "Content-Type": "text/plain"}})
        trusted = ssl.create_default_context(cafile=env.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
        urllib.request.urlopen(sent, timeout={TIMEOUT_SECONDS}, context=trusted).close()
except Exception as error:
    sys.stderr.write("The list of packages is not recorded: %s\\n" % error)
if sys.argv[1:]:
    os.execvp(sys.argv[1], sys.argv[1:])
""".strip()
_BEFORE = """for python in python3 python; do
  if command -v "$python" >/dev/null 2>&1; then "$python" -c "$1"; break; fi
done
line=$2
shift 2
exec "$0" -c "$line" "$@"
"""


def telling(command: Sequence[str]) -> list[str]:
    """The words of a container's command that tell the list first: those of a shell or of Python; all others as they
    are, since nobody knows whether their image has Python."""
    command = list(command)
    if command[:2] == [SHELL, "-c"] and len(command) == 3:
        return [*by_shell(_BEFORE), SHELL, _PROGRAM, command[2]]
    if command and _PYTHON.fullmatch(PurePosixPath(command[0]).name):
        return [command[0], "-c", _PROGRAM, *command]
    return command
