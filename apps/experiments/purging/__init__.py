"""The bin: what is deleted can be restored for a while, and is then deleted for good, with everything that hangs on it.

`binned` reads the bin, `held` says what must not go, `emptying` takes rows and files away a lot at a time, and `rounds`
is the worker's.
"""
