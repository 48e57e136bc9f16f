"""Pages of pipelines. Reads come from selectors, writes go to services."""
