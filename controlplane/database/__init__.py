"""The database backend: Django's own for Postgres, which looks at a connection before it uses it again."""
