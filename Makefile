# One command per purpose; `make` lists them. Works with GNU make 3.81, and in a folder with spaces in its name.
.PHONY: help setup demo test check release soak image-test kind-test bench docs record clean
.DEFAULT_GOAL := help

# Python keeps its byte code, also where somebody has turned that off: the tests start it some thousand times.
unexport PYTHONDONTWRITEBYTECODE

# git finds git-annex, and pipelines find python3, through PATH.
ON_PATH := PATH="$$PWD/.venv/bin:$$PATH"
PYTHON  := $(ON_PATH) .venv/bin/python

# More than cores: a test also waits for other processes and for the disk.
AT_ONCE := 3

# A folder for the files of a run, removed if all tests pass. Else pytest would remove files of earlier runs meanwhile.
PYTEST = files=$$(mktemp -d "$${PYTEST_DEBUG_TEMPROOT:-/tmp}/mp.XXXXXX") && PYTEST_DEBUG_TEMPROOT=$$files $(PYTHON) -m pytest
REMOVE = && chmod -R u+w "$$files" && rm -rf "$$files"

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/ready ## make .venv and install minipach into it (Python >= 3.11)
	@echo "ready: .venv/bin/minipach"

demo: .venv/ready ## run examples/photographs in a new folder ./demo
	@$(PYTHON) examples/demo.py --force demo

test: .venv/ready ## the tests, less the slow ones (less than 5 minutes)
	@$(PYTEST) -m "not slow and not soak and not image" -n $(AT_ONCE) --dist worksteal $(REMOVE)

check: .venv/ready docs ## lint, format, types, imports, generated docs, the documentation site, slow tests
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(ON_PATH) lint-imports --no-cache
	@$(PYTHON) -m minipach.spec.reference --check docs/spec-reference.md
	@$(PYTHON) -m minipach.spec.pachyderm_fields --check docs/pachyderm-fields.md
	@$(PYTHON) -m minipach.cli.reference --check docs/commands.md
	@$(PYTEST) -m "slow and not soak" -n $(AT_ONCE) --dist worksteal $(REMOVE)

release: .venv/ready ## build a wheel and an sdist into dist/, check them, and try them in a new environment
	@$(PYTHON) docs/release.py

soak: .venv/ready ## the tests that take longest: chaos, every name, every form of an image (an hour and more)
	@$(PYTHON) -m pytest -m soak -n 2 --dist worksteal

image-test: .venv/ready ## build the Docker image from a fresh Debian and use it (as root; mmdebstrap, podman, runc)
	@$(PYTHON) -m pytest -m image

kind-test: .venv/ready ## repeat the tests of Kubernetes on a real cluster (kind, docker; or --current, see the script)
	@deploy/kubernetes/kind-test.sh $(ARGS)

docs: .venv/docs ## build the documentation site into build/site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet
	@echo "built: build/site/index.html"

record: .venv/ready ## run the demo in a pseudo-terminal and write the pictures of the README
	@$(PYTHON) docs/record.py

bench: .venv/ready ## measure minipach beside its peers (some 50 minutes)
	@for script in overhead noop outputs20k plan verify hooks watch receiver peers thousand; do \
	  echo; echo "== $$script"; $(PYTHON) benchmarks/$$script.py || exit 1; \
	done

clean: ## remove .venv, caches and the demo
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist minipach.egg-info
	@find minipach tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -f demo/.git/minipach-demo ]; then chmod -R u+w demo && rm -rf demo; fi

# Two stamps: a new pin installs again, but does not make the environment again.
.venv/created:
	@for python in python3.13 python3.12 python3.11 python3 ""; do \
	  if [ -z "$$python" ]; then \
	    echo "no Python >= 3.11 with venv on PATH; install one (Debian: apt-get install python3 python3-venv, macOS: brew install python)" >&2; \
	    exit 1; \
	  fi; \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    break; \
	  fi; \
	done; \
	echo "making .venv with $$("$$python" --version)"; \
	"$$python" -m venv .venv
	@touch $@

.venv/ready: .venv/created pyproject.toml constraints.txt
	@echo "installing minipach into .venv"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,demo]'
	@touch $@

.venv/docs: .venv/ready
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
