# The commands of the project. Everything is set up in .venv on first use.

ifeq ($(OS),Windows_NT) # a virtual environment has another shape there
PYTHON ?= python
BIN = $(VENV)/Scripts
else
PYTHON ?= python3
BIN = $(VENV)/bin
endif
VENV ?= .venv
# what `make test` installs: "everywhere" leaves out what has no build for every Python
TEST_GROUP ?= bench
TESTS ?= tests
# more than two cores have: many tests wait for sockets and processes
TEST_JOBS ?= 4
SOURCES := pyproject.toml setup.py $(wildcard src/dbnfast/_core/*.pyx src/dbnfast/_core/*.pxd)

.PHONY: demo test soak search bench instructions bench-report lint docs docs-tools picture tables fixtures debug sanitize coverage fuzz sdist wheels \
	minimum readers clean help

help:
	@echo "make demo      the packaged sample as a file and as a live feed that breaks once"
	@echo "make test      run the tests; TESTS= chooses"
	@echo "make soak      live sessions against a gateway that fails; SOAK= says how many, SOAK_SEED= from where"
	@echo "make bench     measure against the peers, side by side"
	@echo "make instructions  count instructions for each record; fails where they grew"
	@echo "make bench-report  all of it, and write docs/benchmarks.md; REPORT=--smoke for a look"
	@echo "make lint      every gate: style, types, stubs, docstrings, spelling, packaging, workflows"
	@echo "make docs      build the documentation site into build/site"
	@echo "make docs-tools  install what builds it, with which the tests build it too"
	@echo "make tables    write what follows from the table of layouts and from the command line"
	@echo "make fixtures  make the golden files again, with the official encoder"
	@echo "make sdist     the source distribution, in dist"
	@echo "make wheels    a wheel from it for every Python here, each tested as installed"
	@echo "make minimum   run the tests with the lowest versions that are allowed"
	@echo "make readers   have the oldest and newest of other packages read a seekable file"
	@echo "make debug     run the tests with bounds checks compiled in"
	@echo "make sanitize  run the tests under AddressSanitizer and UndefinedBehaviorSanitizer;"
	@echo "               SHARE=3 runs each third case of a test"
	@echo "make search    run the property tests on new random examples; SEARCH= chooses"
	@echo "make fuzz      make search, then fuzz each target for FUZZ_SECONDS; FUZZ_TARGETS= chooses"
	@echo "make picture   what data walks through, long modules, the layers with their imports"
	@echo "make coverage  run the tests, and report which Python and Cython code they reach"

# each stamp says what is installed: the package with its command line, and the groups' tools
say = @echo "-- $(1)"
group = @$(BIN)/pip install --quiet --group $(1) && touch $@

$(VENV)/.made:
	$(call say,making a virtual environment in $(VENV))
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.package: $(VENV)/.made $(SOURCES)
	$(call say,compiling the core and installing dbnfast: half a minute or so)
	@$(BIN)/pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.test: $(VENV)/.package
	$(call say,installing what the tests compare with: another half minute)
	$(call group,$(TEST_GROUP))

$(VENV)/.fuzz: $(VENV)/.test
	$(call say,installing the fuzzer)
	$(call group,fuzz)

$(VENV)/.lint: $(VENV)/.test
	$(call say,installing the linters)
	$(call group,lint)

$(VENV)/.docs: $(VENV)/.package
	$(call say,installing what makes the pages)
	$(call group,docs)

$(VENV)/.wheels: $(VENV)/.made $(SOURCES)
	$(call say,installing what builds wheels)
	$(call group,wheels)

$(VENV)/.coverage: $(VENV)/.test
	$(call say,installing what measures coverage)
	$(call group,coverage)

demo: $(VENV)/.package
	@$(BIN)/dbnfast demo

test: $(VENV)/.test
	$(call say,running the tests: two to five minutes)
	$(BIN)/python -m pytest -q $(TESTS) -n $(TEST_JOBS)

# a session follows from its seed, so that a failure can be repeated: SOAK_SEED=7 SOAK=1
SOAK ?= 2000
SOAK_SEED ?= 1

soak: $(VENV)/.test
	$(call say,running $(SOAK) sessions: five a second or so)
	SOAK=$(SOAK) SOAK_SEED=$(SOAK_SEED) $(BIN)/python -m pytest -q tests/soak -n 2 \
		-p no:cacheprovider

bench: $(VENV)/.test
	$(BIN)/python benchmarks/compare.py $(BENCH)

instructions: $(VENV)/.test
	$(BIN)/python benchmarks/instructions.py $(INSTRUCTIONS)

bench-report: $(VENV)/.test
	$(BIN)/python benchmarks/report.py $(REPORT)

# What a search finds becomes an @example of its test.
SEARCH ?= tests/property tests/unit/records/test_parallel.py tests/unit/records/test_merging.py

search: $(VENV)/.test
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -q $(SEARCH) -n 2 -p no:cacheprovider

# The gates, the slowest first: each is a target of its own, and a hook in .pre-commit-config.yaml.
GATES := hints types packaging typing stubs cython docstrings workflows ruff format spelling \
	tables fixtures
LINT_JOBS ?= 2
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) # make 3.81 has none

.PHONY: $(GATES:%=lint-%)

lint: $(VENV)/.lint
	@$(MAKE) --no-print-directory --keep-going --jobs=$(LINT_JOBS) $(SYNC) $(GATES:%=lint-%)

lint-ruff: $(VENV)/.lint
	$(BIN)/ruff check .

lint-format: $(VENV)/.lint
	$(BIN)/ruff format --check .

lint-cython: $(VENV)/.lint
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint src/dbnfast/_core  # it calls pycodestyle by name

lint-types: $(VENV)/.lint
	$(BIN)/mypy

lint-stubs: $(VENV)/.lint
	MYPYPATH=src $(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml \
		--allowlist tests/typing/stubtest-allowlist.txt dbnfast._core dbnfast.records.messages

# mypy reads the same examples, by lint-types
lint-typing: $(VENV)/.lint
	$(BIN)/basedpyright --pythonpath $(BIN)/python

lint-docstrings: $(VENV)/.lint
	$(BIN)/numpydoc lint $$(git ls-files 'src/dbnfast/*.py')

lint-spelling: $(VENV)/.lint
	$(BIN)/codespell src tests docs benchmarks fixtures .ci .github README.md CHANGELOG.md \
		CONTRIBUTING.md Makefile pyproject.toml setup.py

lint-tables: $(VENV)/.lint
	$(BIN)/python docs/generate.py --check

lint-hints: $(VENV)/.lint
	$(BIN)/python .ci/hints.py

lint-fixtures: $(VENV)/.lint
	$(BIN)/python fixtures/generate.py --check

# cibuildwheel is asked what it would build
lint-packaging: $(VENV)/.lint $(VENV)/.wheels
	$(BIN)/python -m pytest -q tests/packaging tests/unit/test_imports.py

# nothing of this asks the network
lint-workflows: $(VENV)/.lint
	$(BIN)/actionlint .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/pre-commit validate-config .pre-commit-config.yaml

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q -d build/doctrees docs build/site
	@echo "the site is build/site/index.html"

docs-tools: $(VENV)/.docs

picture: $(VENV)/.package
	$(BIN)/python .ci/picture.py

tables: $(VENV)/.package
	$(BIN)/python docs/generate.py

fixtures: $(VENV)/.test
	$(BIN)/python fixtures/generate.py --write

# other builds go to a folder of their own, which the tests then import before anything else
debug: $(VENV)/.test
	DBNFAST_DEBUG=1 $(BIN)/pip install --quiet --no-deps --upgrade --target build/site-debug .
	PYTHONPATH=build/site-debug DBNFAST_EXPECT=site-debug $(BIN)/python -m pytest -q tests

# what runs commands as processes, talks over sockets or decides in Python alone reaches no compiled
# code that the other tests do not, and takes long under the sanitizers
PLAIN_ONLY = tests/net tests/soak tests/switching tests/documents tests/packaging tests/unit/cli \
	tests/unit/engines tests/unit/test_dask.py tests/unit/test_imports.py tests/unit/test_enums.py \
	tests/unit/store/test_remote.py tests/unit/store/test_zipped.py tests/unit/test_reference.py \
	tests/unit/live/test_hours.py tests/unit/live/test_recorder.py \
	tests/property/test_live_property.py tests/sansio/test_gateway.py \
	tests/sansio/test_key_hidden.py tests/golden/test_official_frames.py

SANITIZERS = $$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)

# of a test's cases: 1 runs all of them, 3 each third
SHARE ?= 1

sanitize: $(VENV)/.test
	DBNFAST_SANITIZE=1 $(BIN)/pip install --quiet --no-deps --upgrade --target build/site-san .
	LD_PRELOAD="$(SANITIZERS)" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
		UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=build/site-san DBNFAST_EXPECT=site-san \
		DBNFAST_SHARE=$(SHARE) \
		$(BIN)/python -m pytest -q tests -n 2 -p no:cacheprovider -p no:faulthandler \
		$(addprefix --ignore=,$(PLAIN_ONLY))

# counters fit one build only, so that each run starts anew; the soaks repeat what shorter tests
# do. -O: a page of the report may show several ways out of a line, which is asserted against
coverage: $(VENV)/.coverage
	rm -rf build/coverage build/coverage-data build/*-trace
	mkdir -p build/coverage-data
	DBNFAST_TRACE=1 $(BIN)/pip install --quiet --no-deps --upgrade --target build/site-trace .
	HYPOTHESIS_PROFILE=quick PYTHONPATH=$(CURDIR)/build/site-trace DBNFAST_EXPECT=site-trace \
		$(BIN)/python -m coverage run -m pytest -q tests -n 2 --ignore=tests/soak \
		--ignore=tests/net/test_live_soak.py
	$(BIN)/python -O .ci/coverage_report.py

sdist: $(VENV)/.wheels
	rm -rf dist
	$(BIN)/python -m build --sdist
	$(BIN)/python -m twine check --strict dist/*

wheels: $(VENV)/.wheels
	$(BIN)/python .ci/wheels.py

minimum: $(VENV)/.wheels
	$(BIN)/python .ci/minimum.py

readers: $(VENV)/.test $(VENV)/.wheels
	$(BIN)/python .ci/readers.py

FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?=

fuzz: $(VENV)/.fuzz search
	@command -v clang >/dev/null || \
		{ echo "make fuzz needs clang: apt-get install clang"; exit 1; }
	CC=clang DBNFAST_FUZZ=1 DBNFAST_DEBUG=1 $(BIN)/pip install --quiet --no-deps --upgrade \
		--target build/site-fuzz .
	PYTHONPATH=tests $(BIN)/python -m fuzz.run --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

clean:
	rm -rf build dist src/*.egg-info
	find src -name '*.so' -delete
