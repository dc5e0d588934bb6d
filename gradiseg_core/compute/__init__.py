"""What computes: threads, vector instructions, Triton, GPUs, gsplat's compiled code."""
