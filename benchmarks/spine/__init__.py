"""The spine: from an accepted request to a Job, and what clusters that fail do to that. `make bench NAME=spine`."""
