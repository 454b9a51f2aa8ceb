"""Prequential evaluation (test, then learn) of a file of events, with the code that serves; one idea a file."""
