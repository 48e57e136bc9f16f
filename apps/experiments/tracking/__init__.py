"""The values that runs log: taken in, told to open pages, thinned for curves."""
