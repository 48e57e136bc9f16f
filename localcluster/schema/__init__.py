"""The types of the served kinds, from Kubernetes' own OpenAPI document.

``kubernetes.json`` holds facts of release 1.33 for the served kinds: names of fields, their types, how lists merge;
``python -m localcluster.schema.build`` writes it out of an installed development tool. ``wire.json`` holds the numbers
of the same fields in protobuf (``schema.build_wire``). From them come validation of fields, the merge keys of patches,
the list types of server-side apply and the fields that ``kubectl explain`` shows.
"""
