"""The types of the served kinds, from Kubernetes' own OpenAPI document.

``kubernetes.json`` holds the definitions (Apache License 2.0, the Kubernetes authors) of release 1.33 that the served
kinds reach; ``python -m localcluster.schema.build`` writes it again. From it come validation of fields, the merge keys
of patches, the list types of server-side apply and what ``kubectl explain`` shows.
"""
