"""What is asked for, free and used, in numbers and in words. How quantities are read: `kubevalues.quantities`."""
