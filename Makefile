# Each target makes what it needs. Options go in ARGS: make demo ARGS="--speed max --events 50000 --exit"
# make test ARGS="-k learned" runs some tests; make test ARGS="-m 'not live'" those without Apache Kafka.

# The first of these that is new enough; make PYTHON=/path/to/python3 takes another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/ready
ARGS ?=

# Where it is set, every one of some hundred processes would compile the modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test chaos fuzz bench lint audit sbom format lock clean

help:
	@echo "make demo    shopping data through an embedded broker and Redis, live in the terminal"
	@echo "make test    all tests; what needs Java says so when it is missing"
	@echo "make chaos   random faults under load, and the proof that nothing is lost; ARGS=\"--rounds 200 --events 300000 --seed 7\""
	@echo "make bench   all figures, each beside its peer; ARGS=\"soak --seconds 600\" takes one"
	@echo "make fuzz    bad inputs for whatever comes from outside; ARGS=\"--seconds 600 --seed 1\""
	@echo "make lint    ruff, mypy, import-linter, audit   make format   let ruff set the layout"
	@echo "make audit   known weaknesses of the packages   make sbom     list them in sbom.json"
	@echo "make setup   only install, into .venv       make lock     renew requirements.lock"
	@echo "make clean   remove .venv and caches"

setup: $(READY)

demo: $(READY)
	$(BIN)/upwell demo $(ARGS)

# Three at a time, for most tests of servers wait; ARGS="-n 0" runs one after another.
test: .venv/methods
	$(BIN)/python -m pytest --numprocesses 3 $(ARGS)

# On Apache Kafka (Java 17, Maven) and the Redis of this machine; its last line on a failure is the command that repeats it.
chaos: $(READY)
	@$(BIN)/python -m tests.chaos.run $(ARGS)

bench: $(READY)
	$(BIN)/upwell bench $(ARGS)

# Ten minutes for all targets by default; what fails is kept in .fuzz, with the command that repeats it.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(or $(ARGS),--seconds 600)

# No kernels are needed for it: it may run while they are compiled.
lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory audit

# An environment of their own: what looks at the lock is not a part of it.
SUPPLY := .venv/supply
$(SUPPLY)/bin/pip-audit:
	@$(PYTHON) -m venv --clear $(SUPPLY) && $(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 \
		pip-audit==2.10.1 cyclonedx-bom==7.5.0

# Fails for a weakness, not for a database that is away.
audit:
	@$(MAKE) --no-print-directory $(SUPPLY)/bin/pip-audit >/dev/null 2>&1 \
		|| { echo "audit: skipped, for pip-audit cannot be installed"; exit 0; }; \
	rm -f $(SUPPLY)/found; \
	if $(SUPPLY)/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --vulnerability-service osv \
		--timeout 10 --progress-spinner off --format columns --output $(SUPPLY)/found 2>$(SUPPLY)/log; \
	then echo "audit: no known weakness"; \
	elif [ -s $(SUPPLY)/found ]; then cat $(SUPPLY)/found; exit 1; \
	else echo "audit: skipped, for its data cannot be reached ($$(tail -n 1 $(SUPPLY)/log | cut -c 1-80))"; fi

sbom: $(SUPPLY)/bin/pip-audit
	$(SUPPLY)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file sbom.json

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Compiles the kernels, so that no demo, test or worker waits for it; made only when all went well.
$(READY): .venv/installed
	@test ! -e streams/warm.py || { echo "compiling the kernels, once"; $(BIN)/python -m streams.warm; }
	@touch $@

# The tests use every method of segments; in them, that would take from the time that a worker has to start.
.venv/methods: $(READY)
	@$(BIN)/python -m streams.warm all
	@touch $@

.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Upwell needs Python 3.11 or newer, and $(or $(PYTHON),python3) is missing or older. Install one (apt install" \
			"python3, brew install python) or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# One version of each package for all supported Pythons, with the hashes of all its files and no address.
lock:
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/lock/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --no-header --quiet \
		--output-file requirements.lock $(ARGS)
	rm -rf .venv/lock

clean:
	rm -rf .venv .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
