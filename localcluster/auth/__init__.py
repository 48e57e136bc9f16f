"""Who asks (bearer tokens, ServiceAccounts) and what they may do (RBAC)."""
