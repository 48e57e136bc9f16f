"""Amounts that are asked for, free and used, in numbers and in words. `kubevalues.quantities` reads them."""
