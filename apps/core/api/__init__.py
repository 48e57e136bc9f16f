"""REST: what all apps' endpoints share."""

from apps.core.api import words

# Whoever declares a serializer has imported this before.
words.use()
