"""The pictures of docs/models.md, drawn from the models: python -m docs.pictures."""
