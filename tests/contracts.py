"""Two import-linter contracts of our own; pyproject.toml says what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph


def _within(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


class _NoneBroken(Contract):  # type: ignore[misc]  # import-linter's class is untyped here
    """A contract that names every import that breaks it."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        del verbose
        broken = sorted(
            (module, imported)
            for module in graph.modules
            for imported in graph.find_modules_directly_imported_by(module)
            if self.breaks(module, imported)
        )
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def breaks(self, module: str, imported: str) -> bool:
        """Whether this contract forbids `module` to import `imported`."""
        raise NotImplementedError

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each forbidden import."""
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} must not import {imported}")


class ImportsOnly(_NoneBroken):
    """`source` and what it contains import nothing but themselves and `allowed`."""

    source = fields.StringField()
    allowed = fields.ListField(subfield=fields.StringField())

    def breaks(self, module: str, imported: str) -> bool:
        return _within(module, [self.source]) and not _within(imported, [self.source, *self.allowed])


class ImportedOnlyBy(_NoneBroken):
    """Nothing but `importers` imports `imported` or what it contains."""

    imported = fields.StringField()
    importers = fields.ListField(subfield=fields.StringField())

    def breaks(self, module: str, imported: str) -> bool:
        return _within(imported, [self.imported]) and not _within(module, self.importers)
