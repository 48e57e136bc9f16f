"""The base of every page: the shell around it, its forms and charts, and the pages that belong to no other app."""
