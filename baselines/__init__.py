"""Baselines to hold an agent against, and the head-to-head comparison with its report."""
