"""The pages of experiments, runs and models: views, forms, and what stands on a page and where."""
