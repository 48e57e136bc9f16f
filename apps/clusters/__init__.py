"""Clusters: how they are reached, what runs on them, and what is known of it.

looking for …                                                                    room
how a cluster is registered, its kubeconfig, address and credential, whether
  it is registered twice, what a check asks, permissions and the role to apply    connect
a call to the Kubernetes API, its errors, TLS, connections                        kube
the process that lists and watches, and which watcher holds which cluster         watcher
what state a cluster, pod, node or Job is in, its conditions, its stored row      observed
why a pod waits, crashes or is not ready, in a sentence                           why
which cluster or node has room, and which one is chosen                           fit
CPU, memory, GPUs: read, added up, worded, the least and most to ask for          quantities
what a run or deployment may ask of its pods: nodes, volumes, Secrets             podoptions
use over time, charts, consumption, prices, cost                                  usage
a container's log                                                                 logs
the names of the states and of their reasons                                      states
every read (lists, sums, events, who may see what)                                selectors
every change that somebody asks for, with its audit row: register, new
  credential, disable, remove, and what stands in the way of a removal            services
what the watcher has seen → the cluster's recorded state; what is tidied up       reconcile
labels and owners that all objects of ours carry                                  manifests
HTML, its forms, its sentences; REST; the admin panel                             pages, api, admin
"""
