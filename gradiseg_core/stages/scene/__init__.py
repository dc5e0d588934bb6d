"""Stage `scene`: photographs, their split and annotations, in one folder and one form."""
