"""The watcher: one asyncio process that keeps Postgres in step with many clusters.

supervisor   which clusters this process holds, by leases; starts and stops a ClusterWatch for each
shares       how many each watcher should hold
cluster      one cluster: a stream per kind, a probe, metrics
streams      list, then watch, for ever: the part that survives every failure of the connection
kinds        what is watched, and what a cluster may do without
inbox        collects changes between two writes, the last one of each object
writer       writes what all clusters have reported, in batches of many
lease        rows with a fencing number; database: threads for all of the above's SQL
"""
