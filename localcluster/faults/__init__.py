"""Faults that a test switches on: the API and the nodes then fail as real ones do. Off unless ``--faults`` is given."""
