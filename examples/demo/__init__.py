"""The main job on real data, driven through the REST API as any client would drive it."""
