from apps.core.states import Health


def test_the_worst_health_has_the_largest_severity() -> None:
    order = sorted(Health, key=lambda health: health.severity)
    assert order[0] is Health.HEALTHY
    assert order[-1] is Health.UNKNOWN
    assert order.index(Health.PROGRESSING) < order.index(Health.DEGRADED)
