"""The Django app of workflows."""

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Configuration of `apps.workflows`."""

    name = "apps.workflows"
    label = "workflows"

    def ready(self) -> None:
        """Let runs and rollouts that end ask for a round of what waits for them."""
        from apps.core import holdings as belongings
        from apps.core import work
        from apps.core.database import transitions
        from apps.deployments.models import Rollout
        from apps.experiments.models import Run
        from apps.workflows import holdings, selectors
        from apps.workflows.models import PipelineRun
        from apps.workflows.reconcile import reconcile, reconcile_schedule
        from apps.workflows.services import waking
        from apps.workflows.services.common import KIND, SCHEDULE

        work.register(KIND, reconcile, resync=selectors.left_behind)
        work.register(SCHEDULE, reconcile_schedule, resync=selectors.overdue)
        transitions.hear(Run, waking.run_moved)
        transitions.hear(Rollout, waking.rollout_moved)
        transitions.hear(PipelineRun, waking.pipeline_moved)
        belongings.register(holdings.of_project)
