"""What all tests of models share."""

from hypothesis import settings

# The first example may have to wait for a kernel to be compiled.
settings.register_profile("models", deadline=None)
settings.load_profile("models")
