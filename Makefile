# Two commands do everything on a Debian with Python 3.11: `make demo` and `make test`. `make demo DATA=DIR` takes your own data.
PYTHON ?= python3
DATA ?=
bin := .venv/bin

.PHONY: demo test lint bench lock clean

demo: .venv/.run
	$(bin)/python local_test/demo.py $(if $(DATA),--data $(DATA))

test: .venv/.dev
	$(bin)/pytest

lint: .venv/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

# Real data beside the project (see benchmarks/README.md); results are printed as JSON lines.
bench: .venv/.dev
	$(bin)/python benchmarks/ham10000.py

# Pins what pyproject.toml asks for, with hashes; requirements.txt is what the image installs.
lock: .venv/.dev
	$(bin)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes --no-header -o requirements.txt
	$(bin)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes --no-header --extra dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf .venv build

.venv/.run: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(bin)/pip install --quiet --require-hashes -r requirements.txt
	$(bin)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv/.dev: requirements-dev.txt .venv/.run
	$(bin)/pip install --quiet --require-hashes -r requirements-dev.txt
	touch $@
