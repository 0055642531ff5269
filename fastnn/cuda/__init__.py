"""How networks are computed on an NVIDIA GPU. Nothing outside this package imports Numba's CUDA target."""
