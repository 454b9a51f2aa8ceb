"""Faust agents: the control plane's low-rate topics."""
