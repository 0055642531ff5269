"""How networks are computed on the CPU. Nothing outside this package knows about addresses, tiles or workers."""
