"""files -> pieces -> scored pieces, side by side and in order -> the output and the rejects."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from vaewatch.batch.encode import Encoder
from vaewatch.batch.job import Counts, Job
from vaewatch.batch.journal import Journal, Progress
from vaewatch.batch.stage import Item, Scored, Stage
from vaewatch.batch.workers import Team, in_order
from vaewatch.scoring.errors import SchemaError, ScoringError
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.records import Source
from vaewatch.scoring.files.rejects import HEADER, Reject
from vaewatch.scoring.files.remote import is_url
from vaewatch.scoring.files.source import STDIN, expand, open_source, pieces_of
from vaewatch.scoring.files.writer import Output, complete, open_output
from vaewatch.scoring.scorer import Scorer

Engine = Callable[[Iterable[Item], Stage], Generator[Scored]]
# counts so far, and the share of the input done; first what an earlier job has counted
Tell = Callable[[Counts, float | None], None]


def run_here(items: Iterable[Item], stage: Stage) -> Generator[Scored]:
    """On the cores of this machine."""
    with Team(stage.job.threads) as team:
        yield from run_with(team, items, stage)


def run_with(team: Team, items: Iterable[Item], stage: Stage) -> Generator[Scored]:
    """On those of a team that is there already."""
    return in_order(items, stage.score, team)


def run(
    scorer: Scorer,
    job: Job,
    tell: Tell = lambda counts, share: None,
    engine: Engine = run_here,
) -> Counts:
    """Score files into one output, from the beginning or from where an earlier job stopped."""
    with scored(scorer, job, tell, engine) as done:
        return done.counts


@dataclass(frozen=True)
class Done:
    """What a job counted; earlier: what of it was counted before it was resumed."""

    counts: Counts
    earlier: Counts


@contextmanager
def scored(scorer: Scorer, job: Job, tell: Tell, engine: Engine) -> Iterator[Done]:
    """As `run`. Until the block ends, a job that is killed can be resumed and comes here again, so
    what tells of the job is written in it.
    """
    journal = Journal(job, expand(job.sources), scorer.artifact.version)
    last = journal.last() if job.resume else None
    earlier = last.counts if last else Counts()
    tell(earlier, None)
    if last is not None and last.whole:
        _name(job)
        counts = last.counts
    else:
        counts = _score(scorer, job, journal, last, tell, engine)
    yield Done(counts, earlier)
    journal.close(keep=False)


def _score(
    scorer: Scorer,
    job: Job,
    journal: Journal,
    last: Progress | None,
    tell: Tell,
    engine: Engine,
) -> Counts:
    files = journal.files
    with open_source(files[0], scorer.artifact.schema, job.delimiter) as first:
        encoder = Encoder.of(job, first, scorer.artifact.schema, scorer.artifact.version)
        sizes = tuple(int(journal.before.get(name, [0])[0]) for name in files)
        stage = Stage(scorer, job, encoder, sizes)
        inputs = Inputs(stage, files, first)
        inputs.check()
        with _Targets(job, encoder, journal, last) as targets:
            with closing(engine(inputs.items(last), stage)) as pieces:
                counts = targets.take(pieces, last, tell, inputs.share)
            journal.refuse_grown(files)
            targets.finish(counts)
    return counts


def _name(job: Job) -> None:
    """Give the drafts their names: that is all that an earlier job had left to do."""
    for target in (job.rejects, job.out):
        if target is not None:
            complete(target, job.drafts)


@dataclass(frozen=True)
class Inputs:
    """The files of a job; the first one is open."""

    stage: Stage
    files: tuple[str, ...]
    first: Source

    def check(self) -> None:
        """Refuse a file that cannot be read or has other columns before any is scored, not after
        hours. Of objects only when it is their turn: each look at one is a request or two.
        """
        for name in self.files[1:]:
            if name != STDIN and not is_url(name):
                with self._opened(name):
                    pass

    @contextmanager
    def _opened(self, name: str) -> Iterator[Source]:
        schema, delimiter = self.stage.scorer.artifact.schema, self.stage.job.delimiter
        with open_source(name, schema, delimiter) as source:
            self._require_same_columns(source)
            yield source

    def items(self, last: Progress | None) -> Iterator[Item]:
        """The pieces of all files, from where an earlier job stopped."""
        for at in range(last.file if last else 0, len(self.files)):
            start = Place(last.offset, last.line) if last and at == last.file else None
            if at == 0:
                yield from self._pieces(at, self.first, start)
                continue
            with self._opened(self.files[at]) as source:
                yield from self._pieces(at, source, start)

    def _pieces(self, at: int, source: Source, start: Place | None) -> Iterator[Item]:
        lean = source.lean()
        return (Item(at, lean, piece) for piece in pieces_of(source, start))

    def _require_same_columns(self, source: Source) -> None:
        """Else the output would have holes; NDJSON names its columns in each record."""
        if "ndjson" in (source.to, self.first.to):
            return
        differ = sorted(set(source.columns) ^ set(self.first.columns))
        if differ:
            raise SchemaError(
                f"all files must have the same columns, but '{self.first.name}' and "
                f"'{source.name}' differ in '{differ[0]}'."
            )

    def share(self, scored: Scored) -> float | None:
        """How much of the input is done; None where a packed file or a stream hides it."""
        sizes = self.stage.sizes
        done = sum(sizes[: scored.at])
        if scored.share is None:
            return None
        return min((done + scored.share * sizes[scored.at]) / max(sum(sizes), 1), 1.0)


class _Targets:
    """The output, the rejects file and the journal of a job; what is not finished is kept only if
    `--resume` can go on from it.
    """

    def __init__(
        self, job: Job, encoder: Encoder, journal: Journal, last: Progress | None
    ) -> None:
        self._encoder, self._journal = encoder, journal
        self._stack, self._rejects = ExitStack(), None
        try:
            if last is None:
                journal.start()  # before the draft of an earlier job is emptied
            self._out = self._open(job, job.out, encoder.to, last.out if last else None)
            if job.rejects is not None:
                place = last.rejects if last else None
                self._rejects = self._open(job, job.rejects, "csv", place)
            if last is None:
                self._begin()
        except BaseException:
            self.__exit__(None)
            raise

    def _open(self, job: Job, target: str, to: str, place: int | None) -> Output:
        output = open_output(target, to, place, job.drafts)
        self._stack.callback(lambda: output.close(keep=self._keep()))
        return output

    def _keep(self) -> bool:
        return self._journal.kept

    def _begin(self) -> None:
        head = self._encoder.head()
        if head:
            self._out.write(head)
        if self._rejects is not None:
            self._rejects.write(HEADER)

    def take(
        self,
        pieces: Iterator[Scored],
        last: Progress | None,
        tell: Tell,
        share: Callable[[Scored], float | None],
    ) -> Counts:
        """Write each scored piece, and the journal from time to time."""
        counts = last.counts if last else Counts()
        for scored in pieces:
            self._set_aside(scored.rejects)
            if scored.data:
                self._out.write(scored.data)
            counts += scored.counts
            tell(counts, share(scored))
            if self._journal.due():
                self._journal.refuse_grown(self._journal.files[scored.at : scored.at + 1])
                self._journal.write(self._synced(scored.at, scored.end, counts))
        return counts

    def _set_aside(self, rejects: tuple[Reject, ...]) -> None:
        if rejects and self._rejects is None:
            raise rejects[0].error()
        if rejects and self._rejects is not None:
            self._rejects.write(b"".join(reject.to_csv() for reject in rejects))

    def _synced(self, at: int, end: Place, counts: Counts, *, whole: bool = False) -> Progress:
        self._out.sync()
        if self._rejects is not None:
            self._rejects.sync()
        rejects = self._rejects.place if self._rejects is not None else 0
        return Progress(at, end.offset, end.line, self._out.place, rejects, counts, whole)

    def finish(self, counts: Counts) -> None:
        """The rejects first: an output under its name means that all is there."""
        if self._encoder.to == "parquet" and not counts.written:
            self._out.write(self._encoder.empty())
        # from here on only names are missing, and some may be given when the job is killed
        self._journal.write(self._synced(0, Place(0, 0), counts, whole=True))
        if self._rejects is not None:
            self._rejects.commit()
        self._out.commit()

    def __enter__(self) -> _Targets:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and issubclass(kind, ScoringError):
            self._journal.kept = False  # the same data would stop the next job
        self._stack.close()
        self._journal.close(keep=self._keep())
