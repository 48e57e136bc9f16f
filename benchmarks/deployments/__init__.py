"""What a thousand deployments on fifty clusters cost."""
