"""How rows are found and written: locks, transactions, states that change once, connections, prepared queries."""
