# Everything a newcomer needs; each target installs what it needs into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
DIST ?= dist
CODE := data_prep search_spaces trainables tuner tests examples docs

.PHONY: demo test lint check docs whole faults launch bench fuzz clean

demo: $(READY)
	$(BIN)/mirtune demo

test: $(READY)
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy data_prep search_spaces trainables tuner

check: lint
	$(BIN)/pytest -q -m "not slow and not whole and not faults"

# Into build/site, without the network; a dead link or anchor, or a page outside the navigation, ends it.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

whole: $(READY)
	$(BIN)/pytest -q -m whole

# Needs Debian's postgresql, openssh-server, iproute2 and rsync; as root, for hosts of its own and a disk to fill.
faults: $(READY)
	$(BIN)/pytest -q -m faults

# What `ray up` installs on every node: this checkout, the versions of what it needs, and the cluster's secret.
launch: $(READY)
	mkdir -p $(DIST) && chmod 700 $(DIST) && rm -rf build $(DIST)/mirtune-*.whl
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(DIST) .
	$(BIN)/pip list --format=freeze --exclude-editable | sed 's/+.*//' > $(DIST)/versions.txt
	test -s $(DIST)/token || (umask 077 && $(BIN)/python -c "import secrets; print(secrets.token_hex(32))" > $(DIST)/token)

bench: $(READY)
	for script in front_end peaks training_step training sweep render preparation short_tracks; do $(BIN)/python tests/benchmarks/$$script.py || exit 1; done

# Coverage-guided: needs `pip install atheris`; a minute for each kind of annotation.
fuzz: $(READY)
	for kind in text midi csv jams musicxml mxl; do $(BIN)/python tests/fuzz/annotations.py --seconds 60 $$kind || exit 1; done

clean:
	rm -rf .venv build dist *.egg-info

$(READY): setup.cfg pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $(READY)
