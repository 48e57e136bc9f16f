"""Authentication (bearer tokens, ServiceAccounts) and authorization (RBAC)."""
