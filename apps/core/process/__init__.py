"""What processes that live long do for themselves."""
