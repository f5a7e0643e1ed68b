# Every target runs in .venv, which `make setup` creates from requirements.txt, a lock
# file with hashes. The tools of developers (lint, wheel, book, browser) are installed
# from requirements-dev.txt when a target first needs them.
PYTHON ?= python3
PROFILE ?= standard
BIN := .venv/bin
export PROFILE

.PHONY: help setup reproduce test test-long coverage fuzz test-matrix test-importers browser lint notebooks store wheel metadata archive release release-check book lab lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready ## Install the locked environment into .venv

.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "$(PYTHON) must be Python 3.11, 3.12 or 3.13, for which the lock file has TensorFlow: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

reproduce: .venv/.ready ## Run the notebooks, train two ensembles (PROFILE=full: all, quick: none), write build/report.html
	$(BIN)/python -m paperlib reproduce

test: .venv/.ready ## Run the tests and the cells of the stored notebooks, and compare figures and numbers
	$(BIN)/python -m pytest
	rm -rf build/results
	$(BIN)/python -m pytest --nbval --nbval-cell-timeout=300 notebooks
	$(BIN)/python -m paperlib check

browser: .venv/.dev ## Run notebooks in a headless Chromium, and write pictures to build/browser (needs chromium)
	$(BIN)/python -m pytest -m browser -rs tests/project/test_browser.py

lint: .venv/.dev ## Check style, format, docstrings and types of all code, and the schemas of other files
	$(BIN)/ruff check conftest.py .ci paperlib tests notebooks docs
	$(BIN)/ruff format --check conftest.py .ci paperlib tests notebooks docs
	$(BIN)/python .ci/docstrings.py
	$(BIN)/mypy
	$(BIN)/mypy tests/project/public_types.py
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[0-9]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml

# The notebooks are executed in deterministic mode, and the tests of their cells too.
DETERMINISTIC := python -m paperlib deterministic
EXECUTE := ../$(BIN)/$(DETERMINISTIC) ../$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False

NOTEBOOKS ?= *.ipynb

notebooks: .venv/.ready ## Execute the notebooks in place, or NOTEBOOKS=12_every_digit.ipynb alone
	cd notebooks && $(EXECUTE) $(NOTEBOOKS)

store: .venv/.ready ## Store the results of build/results, and execute the overview notebook
	$(BIN)/python -m paperlib store
	cd notebooks && $(EXECUTE) 00_overview.ipynb

wheel: .venv/.dev ## Build the wheel into build/dist and test it in an empty environment
	rm -rf build/dist build/empty
	$(BIN)/python -m build --no-isolation --sdist --wheel --outdir build/dist
	$(BIN)/twine check --strict build/dist/*
	@find build/dist -name '*.whl' -size -5120k | grep -q . || { echo "The wheel must have at most 5 MiB"; exit 1; }
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet build/dist/*.whl
	cd / && "$(CURDIR)/build/empty/bin/python" -I "$(CURDIR)/tests/project/installed.py"

# A separate environment, because cffconvert requires older packages than the lock file has.
metadata: ## Write codemeta.json, .zenodo.json and codecheck.yml
	$(PYTHON) -m venv build/metadata
	build/metadata/bin/python -m pip install --quiet cffconvert==2.0.0 pyyaml
	build/metadata/bin/python .ci/metadata.py

archive: .venv/.ready ## Write build/archive/*.zip, an RO-Crate, and reproduce from it in an empty folder
	$(BIN)/python -m paperlib reproduce
	$(BIN)/python .ci/archive.py

release-check: .venv/.ready ## Show the changes of `make release VERSION=0.2.0`, or why it would fail
	@$(BIN)/python .ci/release.py "$(VERSION)"

release: .venv/.ready ## Release VERSION=0.2.0 from main, with commit, tag, wheel and archive, without a push
	@$(BIN)/python .ci/release.py --write "$(VERSION)"
	$(MAKE) metadata
	git add --all
	git commit --quiet --message "Release $(VERSION)"
	git tag --annotate --message "Release $(VERSION)" "v$(VERSION)"
	$(MAKE) wheel
	$(MAKE) archive

BOOK := build/book-source

book: .venv/.dev ## Build a website of notebooks, pages and docstrings in build/book; broken links are errors
	rm -rf build/book $(BOOK)
	mkdir -p $(BOOK)
	cp -R docs README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff figures notebooks $(BOOK)
	cd $(BOOK)/docs && mv conf.py index.md api.md _static _templates ..
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -d build/book-cache $(BOOK) build/book

lab: .venv/.ready ## Open the notebooks in JupyterLab
	$(BIN)/$(DETERMINISTIC) $(BIN)/jupyter lab notebooks

test-long: .venv/.ready ## Run the tests that take minutes to an hour: killed processes, other seeds, memory
	$(BIN)/python -m pytest tests/long

coverage: .venv/.ready ## Measure the coverage of tests and notebooks; fails below 95 percent
	rm -rf build/coverage
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run -m pytest tests/physics/test_scattering.py tests/physics/test_shells.py tests/taylor/test_product_rule.py tests/taylor/test_product_rule_loops.py
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage run -m paperlib reproduce --profile quick --build build/coverage/run
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

fuzz: .venv/.dev ## Fuzz the readers of files for ten minutes (needs Linux, x86-64)
	mkdir -p build
	$(BIN)/python tests/long/fuzz_files.py -max_total_time=600 -artifact_prefix=build/

test-matrix: .venv/.ready ## Test other processors (needs qemu-user), thread counts and releases (needs uv)
	PYTHON=$(BIN)/python .ci/matrix

FRAMEWORKS := torch onnx onnxruntime

test-importers: .venv/.ready ## Test the importers of PyTorch and ONNX, and notebook 11; downloads gigabytes
	$(PYTHON) -m venv build/importers
	build/importers/bin/python -m pip install --quiet --require-hashes --requirement requirements.txt
	build/importers/bin/python -m pip install --quiet $(FRAMEWORKS)
	build/importers/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	build/importers/bin/python -m pytest -q tests/networks
	build/importers/bin/python -m papermill --log-level ERROR --cwd notebooks -p compare True -p results ../build/importers/results notebooks/11_your_own_network.ipynb build/importers/11.ipynb

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url

lock: ## Resolve requirements.txt and requirements-dev.txt again (needs uv)
	$(COMPILE) --extra fast --extra train --extra notebooks --extra sweep --extra test --output-file requirements.txt
	$(COMPILE) --all-extras --constraint requirements.txt --output-file requirements-dev.txt

clean: ## Remove all results and builds, except .venv
	rm -rf build
