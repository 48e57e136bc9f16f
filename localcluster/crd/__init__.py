"""Custom resources: kinds that somebody defines while the cluster runs.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""
