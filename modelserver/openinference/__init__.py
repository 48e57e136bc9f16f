"""A server of one registered model that speaks the Open Inference Protocol, version 2: `python -m openinference`.

It knows nothing of Flotilla but what the environment says, and imports none of it.
"""
