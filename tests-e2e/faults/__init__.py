"""What is promised when things break, tried on the running product: one module per row of the fault matrix."""
