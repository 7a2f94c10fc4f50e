"""kill -9 at every labelled step of an update: what starts afterwards is the old version or the new one, and it works.

The steps are those that the product itself reports; this test lists none of them by hand, so a new one is tried, too.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import little_app
from tests.fakes.update_publisher import NOW, Publisher
from tests.fakes.update_server import serving

OLD, NEW = 5, 7
EVERY = {"downloaded", "verified", "unpacked", "staged", "switched", "proved", "version removed", "collected"}

_UPDATE = """
import os, runpy, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.fakes import little_app
from updates.client.ask import Place, ask
from updates.client.boot import Launch
from updates.client.download import Download
from updates.client.endpoints import DEFAULT_PATH, endpoint
from updates.client.stage import stage
from updates.client.switch import collect, prove, switch
from updates.trust.verdict import Install, InstallFacts

_, root, url, installed, apps, now, log = sys.argv
installed, apps, log = Path(installed), Path(apps), Path(log)
place = Place(endpoint(url + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)
os.environ["LITTLE_LOG"] = str(log)

def update(app, step):
    own = little_app.installation(installed, app)
    prove(own, step)
    facts = InstallFacts(anchors=own.anchors, app="gogrid-worker", channel="stable", target="linux-x86_64",
                         version="1.0.0", seq=5, install_id="machine")
    verdict = ask((place,), own, facts, float(now)).verdict
    assert isinstance(verdict, Install), verdict
    step("asked")
    archive = Download(verdict, place, own.folder.downloads, stop=threading.Event(), step=step).run(own.load)
    stage(archive, verdict, own, little_app.PROGRAM, step)
    switch(own, verdict.seq, step)
    new = little_app.installation(own.folder.version(verdict.seq), app)
    prove(new, step)
    little_app.write(own.folder.version(6), 6, "1.5.0", "good")
    collect(own.folder, own.load(), 7, step)

def kill_at(number, app):
    seen = []
    def step(label):
        seen.append(label)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    update(app, step)

def start(app):
    sys.argv = [str(installed / little_app.PROGRAM), str(app)]
    runpy.run_path(sys.argv[0], run_name="__main__")

def apart(deed):
    child = os.fork()
    if child == 0:
        try:
            deed()
        except SystemExit as end:
            os._exit(end.code or 0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

labels = []
update(apps / "whole", labels.append)
for number, label in enumerate(labels, start=1):
    app = apps / f"{number:02}"
    killed = apart(lambda: kill_at(number, app))
    apart(lambda: start(app))
    state = little_app.installation(installed, app).load()
    started = log.read_text().split()
    log.unlink()
    update(app, lambda label: None)
    again = little_app.installation(installed, app).load()
    left = sorted(os.listdir(app / "versions")) + os.listdir(app / "downloads")
    print(killed, *started, state.last_good, *state.failed, *("then", again.installed, *left), "at", label, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a matter of the other systems")
def test_kill_at_every_step_leaves_the_old_version_or_the_new_one_and_the_update_can_be_done_again(tmp_path: Path):
    installed = tmp_path / "installed"
    little_app.write(installed, OLD, "1.0.0", "brief")
    publisher = Publisher(seq=NEW, version="2.0.0", file=little_app.archive(NEW, "2.0.0", "brief"))
    root = str(Path(__file__).parents[2])
    with serving(publisher) as served:
        arguments = [root, served.url, str(installed), str(tmp_path / "apps"), str(NOW), str(tmp_path / "log")]
        done = subprocess.run([sys.executable, "-c", _UPDATE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = [line.split(" at ") for line in done.stdout.splitlines()]
    outcomes, labels = [each[0] for each in seen], [each[1] for each in seen]
    old, new = (f"-9 {seq} {seq} then {NEW} {NEW}" for seq in (OLD, NEW))  # killed, started, good; done again, left
    assert set(labels) >= EVERY
    assert set(outcomes) == {old, new}, seen
    first_new = outcomes.index(new)
    assert set(outcomes[first_new:]) == {new}  # the old one before a certain step, the new one from it on
    assert first_new <= labels.index("switched")
