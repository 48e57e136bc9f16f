"""The pages of clusters: views, forms, and what stands on a page and where."""
