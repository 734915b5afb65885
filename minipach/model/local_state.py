"""Paths of local state: everything below `.git/minipach` of a repository. No other module spells them.

It is disposable: losing it costs time, and the history of jobs. `docs/design/formats.md` says what each file holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(".git", "minipach")  # in a repository's folder, where its `.git` is one


@dataclass(frozen=True, slots=True)
class LocalState:
    """The paths below one folder. Those of the first part are in a project's superdataset, the others in any repo."""

    folder: Path

    @staticmethod
    def of(git_dir: Path) -> LocalState:
        """Return the local state of the repository with this `.git` (that of its main worktree)."""
        return LocalState(git_dir / _FOLDER.name)

    @staticmethod
    def in_root(root: Path) -> LocalState:
        """Return the local state of the repository whose folder this is; nothing is looked up."""
        return LocalState(root / _FOLDER)

    # --- of a project ---

    @property
    def lock(self) -> Path:
        """The project's lock, and who holds it."""
        return self.folder / "lock"

    @property
    def schedules(self) -> Path:
        """The schedules that run: a locked file for each, and the pipelines that it works on."""
        return self.folder / "schedules"

    @property
    def database(self) -> Path:
        """The job database (SQLite)."""
        return self.folder / "ledger.sqlite"

    @property
    def pending_work(self) -> Path:
        """The file with pending work (JSON)."""
        return self.folder / "goal.json"

    @property
    def logs(self) -> Path:
        """Logs, by pipeline and job."""
        return self.folder / "logs"

    @property
    def cache(self) -> Path:
        """The folder of caches."""
        return self.folder / "cache"

    @property
    def image_digests(self) -> Path:
        """Digests of image files, by size and time of change."""
        return self.cache / "images"

    @property
    def local_status(self) -> Path:
        """The folder of status files of the executor `local`, one for each schedule (JSON)."""
        return self.folder / "local"

    @property
    def capacity(self) -> Path:
        """The resources that the sets of all local schedules have: a locked file for each (JSON)."""
        return self.folder / "room"

    @property
    def early_start(self) -> Path:
        """The times of repositories when a schedule had nothing left to do (JSON). A hint, which decides nothing."""
        return self.folder / "early-start.json"

    @property
    def slurm(self) -> Path:
        """Submissions to Slurm, a folder for each."""
        return self.folder / "slurm"

    @property
    def redis(self) -> Path:
        """The private Redis server of `minipach up`, and its worker."""
        return self.folder / "redis"

    @property
    def store(self) -> Path:
        """The private S3 server of `minipach up --store`, with its data and credentials."""
        return self.folder / "store"

    @property
    def redis_socket(self) -> Path:
        """The socket of the private server."""
        return self.redis / "redis.sock"

    @property
    def redis_password(self) -> Path:
        """The private server's password; only the owner may read it."""
        return self.redis / "password"

    @property
    def worker_passes_log(self) -> Path:
        """The output of passes that a worker starts."""
        return self.folder / "rq" / "publish.log"

    @property
    def pushes(self) -> Path:
        """Exists if passes push results to remotes. Then `triggers/hook` hears pushes and fetches of the user, too."""
        return self.folder / "pushes"

    @property
    def heard(self) -> Path:
        """The lines that triggers wrote since the last pass read git. `triggers/hook` writes them."""
        return self.folder / "heard"

    @property
    def taken(self) -> Path:
        """The lines that a pass answers which has not ended yet."""
        return self.folder / "heard.taken"

    @property
    def waiting(self) -> Path:
        """The process that waits to begin a pass: its id and start time. `triggers/hook` writes it."""
        return self.folder / "waiting"

    @property
    def answering(self) -> Path:
        """The lock of the passes that triggers ask for."""
        return self.folder / "answering"

    @property
    def looked(self) -> Path:
        """A summary of the last such pass (JSON)."""
        return self.folder / "looked.json"

    @property
    def passes_log(self) -> Path:
        """The output of such passes."""
        return self.folder / "passes.log"

    @property
    def alerts(self) -> Path:
        """The causes of alerts, and who has which message (JSON)."""
        return self.folder / "alerts.json"

    @property
    def alerts_lock(self) -> Path:
        """The lock of the process that sends alerts."""
        return self.folder / "alerts.lock"

    @property
    def buckets(self) -> Path:
        """The listings of buckets at the last import, and what failed (JSON)."""
        return self.folder / "buckets.json"

    @property
    def serve(self) -> Path:
        """The last events that `minipach serve` has received (JSON)."""
        return self.folder / "serve.json"

    @property
    def serving(self) -> Path:
        """A file that is open while `minipach serve` runs."""
        return self.folder / "serving"

    @property
    def console(self) -> Path:
        """The link of the console that runs, with its token (JSON); only the owner may read it."""
        return self.folder / "console.json"

    @property
    def console_log(self) -> Path:
        """The output of commands that the console has started."""
        return self.folder / "console.log"

    @property
    def services(self) -> Path:
        """The folder of services: the state of each (JSON), its log, and which were stopped by hand."""
        return self.folder / "services"

    @property
    def supervising(self) -> Path:
        """The lock of the supervisor of services, with its process id."""
        return self.folder / "supervising"

    @property
    def joining(self) -> Path:
        """The points that processes add to experiments that run, a folder for each experiment (JSON)."""
        return self.folder / "joining"

    @property
    def seen(self) -> Path:
        """The branches as the last such pass saw them (JSON)."""
        return self.folder / "seen.json"

    @property
    def watching(self) -> Path:
        """The lock of the watcher."""
        return self.folder / "watching"

    @property
    def watch(self) -> Path:
        """The report of the watcher: when it heard and looked (JSON)."""
        return self.folder / "watch.json"

    @property
    def secrets(self) -> Path:
        """The folder of secrets, unless a setting names another one."""
        return self.folder / "secrets"

    @property
    def canaries(self) -> Path:
        """Repositories that prove a store, a folder each; none outlives its proof."""
        return self.folder / "canaries"

    @property
    def erasures(self) -> Path:
        """Reports of `minipach erase`, a folder each."""
        return self.folder / "erasures"

    @property
    def templates(self) -> Path:
        """Copies of git repositories with templates, a bare repository for each source."""
        return self.folder / "templates"

    @property
    def drafts(self) -> Path:
        """Pipelines that `minipach new` is writing, a folder each."""
        return self.folder / "drafts"

    @property
    def adopted(self) -> Path:
        """A dataset that is being made out of a folder."""
        return self.folder / "adopt"

    @property
    def trials(self) -> Path:
        """Repositories that stand for folders which are no datasets yet."""
        return self.folder / "trials"

    # --- of each repository ---

    @property
    def slots(self) -> Path:
        """Worktrees in which sets run, and the locks of their owners."""
        return self.folder / "slots"

    @property
    def checkout_journal(self) -> Path:
        """A checkout that is being moved along with its branch."""
        return self.folder / "checkout"

    @property
    def working(self) -> Path:
        """There while a holder of the project's lock writes to the repository."""
        return self.folder / "working"

    @property
    def verified(self) -> Path:
        """The database of verified annexed contents (SQLite)."""
        return self.folder / "verified.sqlite"

    @property
    def own_moves(self) -> Path:
        """The moves of branches that minipach itself made, one a line."""
        return self.folder / "own-moves"

    @property
    def ready(self) -> Path:
        """There when a worker's clone is whole."""
        return self.folder / "ready"
