# Two commands do everything on a Debian with Python 3.11: `make demo` and `make test`. `make demo DATA=DIR` takes your own data.
PYTHON ?= python3
DATA ?=
bin := .venv/bin

.PHONY: demo test test-long lint bench docs lock audit image test-gpu clean

demo: .venv/.run
	$(bin)/python local_test/demo.py $(if $(DATA),--data $(DATA))

# In the order that tests/conftest.py gives: while one worker waits for the image to be built, the other goes on. Without a
# restart: after one xdist waits for tests that nobody runs, and the loss of a worker is a failure as it is.
test: .venv/.dev
	$(bin)/pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# Floods of requests by the ten thousand, other ones in each run, and signals in all combinations: some 20 minutes.
test-long: .venv/.dev
	$(bin)/pytest --long tests/contract/test_soak.py tests/contract/test_hostile.py tests/contract/test_load.py tests/contract/test_connections.py

lint: .venv/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/shellcheck -x -P SCRIPTDIR build_and_push.sh local_test/*.sh container/entrypoint container/lesion container/serve container/train

# Real data beside the project (see benchmarks/README.md); results are printed as JSON lines.
bench: .venv/.dev
	$(bin)/python benchmarks/ham10000.py

# The site: pages, and a reference from docstrings. A warning, such as a link to nothing, is an error. Sphinx has an
# environment of its own, since awscli wants an older docutils; what our modules import it takes from .venv.
docs: .venv/.dev build/venvs/docs/made-from.txt
	rm -rf build/docs
	build/venvs/docs/bin/python -m sphinx -W --keep-going --quiet -c docs . build/docs
	@echo build/docs/docs/index.html

build/venvs/docs/made-from.txt: docs/requirements.txt
	$(bin)/uv --quiet venv --clear --python $(bin)/python build/venvs/docs
	$(bin)/uv --quiet --no-config pip install --require-hashes --python build/venvs/docs/bin/python -r $<
	cp $< $@

# Pins what pyproject.toml asks for, with hashes. The image installs the same versions in layers: torch and its CUDA
# libraries without those that docs/image.md leaves out, the other libraries, and what the CPU serving image needs.
compile := $(bin)/uv pip compile -q --python-version 3.11 --generate-hashes --no-header
not_in_image := hf-xet triton nvidia-cufft-cu12 nvidia-cufile-cu12 nvidia-curand-cu12 nvidia-cusolver-cu12 nvidia-cusparse-cu12 \
    nvidia-cusparselt-cu12 nvidia-nvjitlink-cu12 nvidia-nvtx-cu12
lock: .venv/.dev
	$(compile) pyproject.toml -o requirements.txt
	$(compile) pyproject.toml --extra dev -c requirements.txt -o requirements-dev.txt
	$(compile) --group docs -c requirements.txt -o docs/requirements.txt
	$(compile) container/torch.in --no-deps -c requirements.txt -o container/requirements-torch.txt
	$(compile) pyproject.toml -c requirements.txt -o container/requirements-libraries.txt \
	    $(addprefix --no-emit-package ,$(not_in_image) $(shell grep -v '^#' container/torch.in))
	$(compile) container/serve-cpu.in -c requirements.txt -o container/requirements-serve-cpu.txt
	$(compile) tests/container/sdk2.in -o tests/container/requirements-sdk2.txt
	$(compile) tests/container/sdk3.in -o tests/container/requirements-sdk3.txt
	$(compile) tests/container/mlflow.in -o tests/container/requirements-mlflow.txt
	$(compile) tests/container/cloudformation.in -o tests/container/requirements-cloudformation.txt

# Known vulnerabilities of what the image installs. SOURCE=osv asks another source. One that knows nothing of an old hole
# in jinja2 does not answer, whatever it says of the rest. docs/image.md has the last audit, and the holes of torch that
# were weighed.
SOURCE ?= pypi
pip_audit := $(bin)/uv tool run pip-audit@2.10.1 --strict --disable-pip --no-deps --progress-spinner off --vulnerability-service
weighed := CVE-2025-2999 CVE-2025-3000 CVE-2025-3001 CVE-2025-3121 CVE-2025-3730 CVE-2025-55551 CVE-2025-55552 CVE-2025-55554 \
    CVE-2025-63396 CVE-2026-4538 CVE-2026-24747
audit: .venv/.dev
	@echo jinja2==2.10 | $(pip_audit) $(SOURCE) --requirement /dev/stdin 2>&1 | grep --quiet 2019-10906 \
	    || { echo 'audit: $(SOURCE) does not answer from here, so there is no result. Ask another: make audit SOURCE=osv' >&2; exit 1; }
	$(pip_audit) $(SOURCE) --requirement requirements.txt $(addprefix --ignore-vuln ,$(weighed))

image:
	docker build --tag lesion .

# What only a GPU can judge, in the image, with pytest from here. Without an image: .venv/bin/pytest tests/gpu
test-gpu: .venv/.dev image
	docker run --rm --gpus all --volume $(CURDIR):/work:ro --workdir /work --entrypoint sh lesion -c \
	    'PYTHONPATH=$$PYTHONPATH:$$(echo /work/.venv/lib/python3.*/site-packages) python3 -m pytest -p no:cacheprovider tests/gpu'

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
