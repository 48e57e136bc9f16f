"""Requests on their way to the endpoints of Services: who takes the next one, and what becomes of it."""
