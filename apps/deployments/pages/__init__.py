"""The pages of deployments: views, forms, and what stands on a page and where."""
