"""What MLflow's clients call the tags that programs set (mlflow/utils/mlflow_tags.py). Pure."""

# People's own tags have no such beginning.
OF_PROGRAMS = "mlflow."
RUN_NAME_TAG, USER_TAG = "mlflow.runName", "mlflow.user"
PARENT_TAG = "mlflow.parentRunId"
# The code of a run.
SOURCE_TAG, REPOSITORY_TAG = "mlflow.source.name", "mlflow.source.git.repoURL"
BRANCH_TAG, COMMIT_TAG = "mlflow.source.git.branch", "mlflow.source.git.commit"
# The run that a trace belongs to, in the trace's metadata.
SOURCE_RUN = "mlflow.sourceRun"


def own_first(key: str) -> tuple[bool, str]:
    """The order in which tags are shown: those that people have set first, by name."""
    return key.startswith(OF_PROGRAMS), key
