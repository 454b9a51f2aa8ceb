"""Upwell: streaming, real-time personalization. This package holds everything that moves; `state` holds what stays."""

__version__ = "0.1.0"
