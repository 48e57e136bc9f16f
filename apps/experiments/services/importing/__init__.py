"""An MLflow server's experiments, runs, models and files are brought into a project, over its REST API.

`server` asks, `mapping` knows what is here already and under which id, `runs`, `logged`, `registry` and `files` bring,
`comparing` reads both back, and `importer` is the order of it all. Whoever is killed runs it again.
"""
