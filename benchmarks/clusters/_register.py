"""Registers a fleet: one JSON line {"port", "ca", "token", "clusters"} on stdin.

A process of its own, so that the benchmark itself needs no Django."""

import json
import os
import sys

import django


def main() -> None:
    """Register c00, c01, … through the same function as REST and the admin panel."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    django.setup()
    from apps.clusters import services
    from apps.core.access import Principal
    from apps.core.models import User
    from tests.clusters.fakeapi import kubeconfig

    fleet = json.loads(sys.stdin.readline())
    root = Principal(user=User.objects.create(username="benchmark", is_superuser=True, is_staff=True))
    for number in range(fleet["clusters"]):
        text = kubeconfig(
            f"https://127.0.0.1:{fleet['port']}/c{number}", fleet["ca"].encode(), {"token": fleet["token"]}
        )
        services.register(
            principal=root, name=f"c{number:02}", kubeconfig_text=text, labels={"region": f"r{number % 5}"}
        )


if __name__ == "__main__":
    main()
