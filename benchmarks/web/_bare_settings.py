"""Flotilla's settings with no middleware and two views: what Django itself costs on the same server."""

from controlplane.settings import *  # noqa: F403 - every other setting is Flotilla's own

MIDDLEWARE = []
ROOT_URLCONF = "benchmarks.web._bare"
