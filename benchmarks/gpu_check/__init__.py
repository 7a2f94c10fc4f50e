"""`make gpu-check`: whether a CUDA machine does inside the real sandbox what GoGrid needs of it."""
