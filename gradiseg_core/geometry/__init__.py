"""Objects found by geometry: a surface fused from a colour-only training, cut at its creases."""
