// In the place of unfold's library of charts, which every page of the panel would load: none of them draws one.
