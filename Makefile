# `make lab`, `make test` and `make docs` each do the whole set-up first, once, and then their job.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs-ready

.PHONY: setup lab test unit test-browser lessons lesson lint bench docs mutants carried reliability

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]" --constraint constraints.txt
	touch $(READY)

lab: $(READY)
	$(BIN)/jupyter lab --ServerApp.allow_root=True lessons/00_start_here.ipynb

# Solutions run in tests/lessons/test_carried.py: some each time, each again when its code has changed.
test: lint unit
	$(BIN)/python authoring/build.py --check
	$(BIN)/python -m pytest -q -n auto --dist loadfile --nbval lessons/

unit: $(READY)
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not browser" tests

# Needs Chromium, too; on Debian: apt-get install chromium fonts-dejavu-core fonts-noto-color-emoji
test-browser: $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[browser]" --constraint constraints.txt
	$(BIN)/python -m pytest -q -rs tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r ftcourse -ll -c pyproject.toml

lessons: $(READY)
	$(BIN)/python authoring/build.py

# A new one, from authoring/template/: make lesson NAME=my_topic
lesson: $(READY)
	$(BIN)/python authoring/new_lesson.py $(NAME)

bench: $(READY)
	$(BIN)/python benchmarks/speed.py

# Would the tests notice? Small mistakes, planted one at a time: make mutants ROOM=evaluation/measures SAMPLE=0
mutants: $(READY)
	nice $(BIN)/python benchmarks/mutants.py $(if $(ROOM),--room $(ROOM)) $(if $(SAMPLE),--sample $(SAMPLE))

# Right answers in other styles, carried through their lessons: 20 minutes and more
carried: $(READY)
	nice $(BIN)/python benchmarks/carried.py

# docs/reliability.md, from the results of the other benchmarks
reliability: $(READY)
	$(BIN)/python benchmarks/reliability.py

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[docs]" --constraint constraints.txt
	touch $(DOCS_READY)

docs: $(DOCS_READY)
	$(BIN)/python docs/make_site.py
