"""The knobs by section, each with its bound and its reason; settings.py puts them together and loads them."""
