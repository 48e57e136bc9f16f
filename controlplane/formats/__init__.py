"""How Django writes dates and times where it draws a page itself: in the admin panel."""
