"""English, the one language of Flotilla."""
