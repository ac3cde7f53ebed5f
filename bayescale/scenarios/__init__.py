"""What runs alone cannot say: pruned data, and metrics seen through the loss."""
