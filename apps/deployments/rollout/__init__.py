"""How a deployment passes from one revision to another: what was seen → what to do next. Pure, all of it."""
