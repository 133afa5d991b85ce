"""files -> chunks -> scored chunks, in parallel and in order -> the output and the rejects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from vaewatch.batch.discover import check_discoverable, discover, first_half, second_half
from vaewatch.batch.encode import Encoder
from vaewatch.batch.incidents.file import format_of_incidents, write_incidents
from vaewatch.batch.inputs import open_inputs
from vaewatch.batch.job import Counts, Job, Progress
from vaewatch.batch.journal import Entry, Journal
from vaewatch.batch.series.follower import check_followed
from vaewatch.batch.stage import Engine, In, Out, ScoredChunk, Work
from vaewatch.batch.watch import Watch
from vaewatch.batch.workers import Team, in_order
from vaewatch.batch.writer import Output, complete, locked, open_output
from vaewatch.scoring.budget.fdr import Discoveries
from vaewatch.scoring.errors import ScoringError
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.rejects import REJECTS_HEAD, Reject, encode_rejects
from vaewatch.scoring.files.source import expand
from vaewatch.scoring.scorer import Scorer

log = logging.getLogger("vaewatch.batch")


def run_here(chunks: Iterable[In], work: Work[In, Out]) -> Generator[Out]:
    """Score on the cores of this machine."""
    with Team(work.job.threads) as team:
        yield from run_with(team, chunks, work)


def run_with(team: Team, chunks: Iterable[In], work: Work[In, Out]) -> Generator[Out]:
    """Score with a team that was started before."""
    return in_order(chunks, work.score, team)


def run(
    scorer: Scorer,
    job: Job,
    progress: Progress = lambda counts, share: None,
    engine: Engine = run_here,
) -> Counts:
    """Score files into one output, from the beginning or from where an earlier job stopped."""
    with scored(scorer, job, progress, engine) as done:
        return done.counts


@dataclass(frozen=True)
class Done:
    """The counts of a whole job.

    earlier: those from before it was resumed.
    found: its discoveries, where it was asked for them.
    """

    counts: Counts
    earlier: Counts
    found: Discoveries | None = None


@contextmanager
def scored(scorer: Scorer, job: Job, progress: Progress, engine: Engine) -> Iterator[Done]:
    """Like `run`. Until the block ends, a job that is killed can be resumed and arrives here
    again, so the block is the place to write its summary and metrics.
    """
    if job.incidents is not None:
        format_of_incidents(job.incidents)
    with locked(job.out, job.rejects, job.incidents, drafts=job.drafts):
        journal = Journal(job, expand(job.sources), scorer.artifact.version)
        check_followed(job, journal.files, scorer.artifact)
        if job.fdr is not None:
            check_discoverable(job, journal.files, scorer.artifact)
        last = journal.last() if job.resume else None
        earlier = last.counts if last else Counts()
        progress(earlier, None)
        if last is not None and last.whole:
            _name_drafts(job)
            counts = last.counts
        else:
            counts = _score(scorer, job, journal, last, progress, engine)
        if counts.series:
            own = scorer.artifact.of_new is not None
            for remark in counts.series.remarks(journal.files, job.max_entities, of_new=own):
                log.warning("warning: %s", remark)
        for remark in journal.found.remarks if journal.found is not None else ():
            log.warning("warning: %s", remark)
        yield Done(counts, earlier, journal.found)
        journal.close(keep=False)


def _score(
    scorer: Scorer,
    job: Job,
    journal: Journal,
    last: Entry | None,
    progress: Progress,
    engine: Engine,
) -> Counts:
    if job.fdr is not None and journal.found is None:
        journal.found = discover(scorer, job, journal, first_half(progress), engine)
    if job.fdr is not None:
        progress = second_half(progress)
    with open_inputs(scorer, job, journal) as inputs:
        watch = Watch.of(inputs, journal, last, engine)
        with _Targets(job, inputs.stage.encoder, journal, last, watch) as targets:
            with closing(watch.scored(inputs.chunks(last), engine, inputs.stage)) as chunks:
                counts = targets.take(chunks, last, progress, inputs.share)
            journal.refuse_grown(journal.files)
            return targets.finish(counts)


def _name_drafts(job: Job) -> None:
    """Give the drafts their names, which is all that an earlier job had left to do."""
    for target in (job.rejects, job.incidents, job.out):
        if target is not None:
            complete(target, job.drafts)


class _Targets:
    """The output, the rejects file and the journal of a job. If the job stops early, they are kept
    only if it can be resumed from them.
    """

    def __init__(
        self,
        job: Job,
        encoder: Encoder,
        journal: Journal,
        last: Entry | None,
        watch: Watch,
    ) -> None:
        self._encoder, self._journal, self._watch = encoder, journal, watch
        self._job = job
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
            self._rejects.write(REJECTS_HEAD)

    def take(
        self,
        chunks: Iterator[ScoredChunk],
        last: Entry | None,
        progress: Progress,
        share: Callable[[ScoredChunk], float | None],
    ) -> Counts:
        """Write each scored chunk, and an entry of the journal from time to time."""
        counts = last.counts if last else Counts()
        for scored in chunks:
            self._set_aside(scored.rejects)
            if scored.data:
                self._out.write(scored.data)
            counts += scored.counts
            counts += self._watch.take(scored)
            progress(counts, share(scored))
            if self._journal.due():
                self._journal.refuse_grown(self._journal.files[scored.at : scored.at + 1])
                entry = self._synced(scored.at, scored.end, counts)
                self._journal.write(entry, self._watch.state())
        return counts

    def _set_aside(self, rejects: tuple[Reject, ...]) -> None:
        if rejects and self._rejects is None:
            raise rejects[0].error()
        if rejects and self._rejects is not None:
            self._rejects.write(encode_rejects(rejects))

    def _synced(self, at: int, end: Place, counts: Counts, *, whole: bool = False) -> Entry:
        self._out.sync()
        if self._rejects is not None:
            self._rejects.sync()
        rejects = self._rejects.place if self._rejects is not None else 0
        return Entry(at, end.offset, end.line, self._out.place, rejects, counts, whole)

    def finish(self, counts: Counts) -> Counts:
        """Name the output last, so that under its name it means that all is there."""
        incidents = self._incidents()
        counts += self._watch.counts()
        if self._encoder.to == "parquet" and not counts.written:
            self._out.write(self._encoder.empty())
        # from here on only names are missing; a job that is killed may have given some
        self._journal.write(self._synced(0, Place(0, 0), counts, whole=True))
        if self._rejects is not None:
            self._rejects.commit()
        if incidents is not None:
            incidents.commit()
        self._out.commit()
        return counts

    def _incidents(self) -> Output | None:
        """Write the incidents of the whole job as a draft; None if it was not asked for them."""
        target, collector = self._job.incidents, self._watch.collector
        if target is None or collector is None:
            return None
        output = self._open(self._job, target, format_of_incidents(target), None)
        write_incidents(collector.stream, target, output)
        return output

    def __enter__(self) -> _Targets:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and issubclass(kind, ScoringError):
            self._journal.kept = False  # the same data would stop the next job
        self._stack.close()
        self._journal.close(keep=self._keep())
