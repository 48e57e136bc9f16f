"""Usage history: what nodes, pods, namespaces and workloads asked for and used, sampled, rolled up, and paid for.

`sampling` writes one round of a cluster; `rollup` makes coarser levels of it and drops what is old; `history` reads
curves and `spending` reads consumption. `levels` and `consumption` are pure.
"""
