"""The embedded default: a real Postgres, a real Valkey, a local cluster and every Flotilla process, by one command.

Nothing here needs Django before the servers run: the supervisor sets the environment, the children read it.
"""
