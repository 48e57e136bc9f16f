"""How many replicas the load asks for: the policy, the autoscaler made of it, and what that autoscaler says. Pure."""
