"""The same work in PyTorch and in the other spconv, here or in another interpreter."""
