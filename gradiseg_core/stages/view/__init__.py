"""The page in which a trained scene can be looked at and its objects clicked."""
