"""A mirror's life: four threads (work, hooks, reports, notices) around one writer, from the first look to the last."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from resumable_sweep.contract.report import Answer, Experiment, Report, Stage
from sweep_sidecar.mirror.hooks import Hooks, HookServer
from sweep_sidecar.mirror.pace import Pace
from sweep_sidecar.mirror.vitals import Vitals, vitals_of
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.file import NoticeFile
from sweep_sidecar.notice.watch import NoticeWatch
from sweep_sidecar.push import Pusher
from sweep_sidecar.settings import AttemptSettings
from sweep_sidecar.store import Unreachable

_LOG = logging.getLogger(__name__)
ASK_EVERY_S = 0.5
ASK_FOR_S = 20.0
"""How long the operator may take to see that the experiment's containers have exited."""
READY_AFTER_S = 20.0
"""An experiment may start so long after the mirror even where the store does not answer: it only costs safety."""
_FLUSH_WAIT_S = 20.0
_LAST_PUSHES = 3
_FIRST_PAUSE_S = 1.0
_MOST_PAUSE_S = 30.0


class MirrorLife:
    """Runs a writer until the experiment's containers have ended and all they left is in the store.

    Parameters
    ----------
    writer_for:
        Makes the writer, given what to call with each new state.
    pusher_for:
        Makes the reports' thread, given what to call with each answer; returns None where there is no operator to tell.
    watch_for:
        Makes the thread that listens for reclaims, given what to call with what is announced; returns None where there
        is nobody to listen to.
    vitals:
        Those that the writer's store is watched by.
    leave:
        Called with each new state, for whoever comes to look once this process has ended.
    """

    def __init__(
        self,
        settings: AttemptSettings,
        *,
        writer_for: Callable[[Callable[[Report], None]], AttemptWriter],
        pusher_for: Callable[[Callable[[Answer], None]], Pusher | None],
        watch_for: Callable[[Callable[[Announcement | None], None]], NoticeWatch | None] = lambda changed: None,
        vitals: Vitals | None = None,
        leave: Callable[[Report], None] = lambda report: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._vitals = vitals or vitals_of(flush_timeout_s=settings.flush_timeout_s, monotonic=monotonic)
        self._leave = leave
        self._pusher = pusher_for(self._hear)
        self._notice_file = NoticeFile(settings.notice_file)
        self._announced: Announcement | None = None
        self._telling = threading.Lock()
        self._has_state = False
        self._writer = writer_for(self._note_state)
        self._watch = watch_for(self._be_announced)
        self._asked_to_stop = threading.Event()
        if self._notice_file.is_there():
            self._asked_to_stop.set()
        if self._watch is not None:
            # What an earlier process of this pod's has heard stands until this one knows better: to report none for a
            # moment would withdraw it.
            self._announced = self._notice_file.found()
            self._vitals.grace.announce(is_leaving=self._is_leaving)
        self._flush_asked = threading.Event()
        self._experiment_ended = threading.Event()
        self._doubted = threading.Event()
        self._wake = threading.Event()
        self._looks = threading.Condition()
        self._begun_looks = 0
        self._done_looks = 0
        self._last_look_held = False
        self._ready = False
        self._started_at = monotonic()
        self._crash: BaseException | None = None
        hooks = Hooks(
            is_well=self._is_well,
            metrics=self._vitals.metrics.text,
            stop_path=settings.stop_path,
            stopping=self._stopping,
            flush=self._flush,
        )
        self.server = HookServer(hooks, port=settings.port)

    def run(self, signals: Collection[signal.Signals]) -> Report:
        """Live until one of `signals` (which the caller has blocked) arrives and the end is written.

        The signals are waited for instead of handled: a handler could run while its own thread holds a lock that the
        handler needs.
        """
        self.server.start()
        if self._pusher is not None:
            self._pusher.start()
        if self._watch is not None:
            self._watch.start()
        worker = threading.Thread(target=self._work, name="work", daemon=True)
        worker.start()
        while worker.is_alive() and not _has_arrived(signals, within_s=1.0):
            pass
        _LOG.info("the experiment's containers have ended")
        self._vitals.grace.begin()
        self._experiment_ended.set()
        self._wake.set()
        worker.join()
        if self._crash is not None:
            raise self._crash
        if self._watch is not None:
            self._watch.stop()
        self._push_last()
        return self._said()

    def _work(self) -> None:
        self._vitals.pulse.watch()
        try:
            if not self._persist(self._writer.begin):
                return
            self._ready = True
            pace = Pace(
                interval_s=self._settings.interval_s,
                now=self._monotonic(),
                shard=self._settings.shard,
                shards=self._settings.run.shards,
            )
            while not self._experiment_ended.is_set():
                pace.begin(self._monotonic())
                writes = self._writer.writes
                self._look_once()
                pace.wrote(self._writer.writes - writes)
                self._pause(pace)
            self._persist(lambda: self._writer.finish(self._ask))
        except BaseException as error:
            self._crash = error
        finally:
            self._vitals.pulse.end()
            with self._looks:
                self._last_look_held = self._crash is None and self._writer.has_ended
                self._done_looks = self._begun_looks + 1
                self._looks.notify_all()

    def _pause(self, pace: Pace) -> None:
        """Wait until the next look is due, or somebody wants one."""
        while pause_s := pace.pause_s(self._monotonic(), is_asked=self._writer.is_asked or self._is_leaving):
            if self._wake.wait(pause_s):
                break
            self._vitals.pulse.beat()
        self._wake.clear()

    def _look_once(self) -> None:
        with self._looks:
            self._begun_looks += 1
        self._notice_file.try_again()
        held = True
        began = self._monotonic()
        try:
            if self._doubted.is_set():
                self._doubted.clear()
                self._writer.check_standing()
            self._writer.look()
        except Unreachable as error:
            _LOG.warning("the store does not answer: %s", error)
            self._writer.cannot_write(error)
            held = False
        self._vitals.metrics.note_look(held=held, seconds=self._monotonic() - began)
        with self._looks:
            self._done_looks = self._begun_looks
            self._last_look_held = held
            self._looks.notify_all()

    def _persist(self, step: Callable[[], None]) -> bool:
        """Do `step` until the store answers, or the time for the last flush is over; return whether it is done."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._vitals.pulse.beat()
            try:
                step()
                return True
            except Unreachable as error:
                _LOG.warning("the store does not answer, next try in %.0f s: %s", pause_s, error)
                self._writer.cannot_write(error)
                if self._vitals.grace.is_over:
                    _LOG.error("no time is left: what the store does not have is lost with this pod")
                    return False
                if self._experiment_ended.is_set():
                    # Every second of the grace period counts now.
                    pause_s = _FIRST_PAUSE_S
                    time.sleep(pause_s)
                else:
                    self._experiment_ended.wait(pause_s)
                    pause_s = min(_MOST_PAUSE_S, pause_s * 2)

    def _is_well(self) -> bool:
        """Whether the experiment may start, and the worker lives. A store that does not answer is no ailment."""
        is_ready = self._ready or self._monotonic() - self._started_at > READY_AFTER_S
        return is_ready and not self._vitals.pulse.is_stuck

    def _stopping(self) -> None:
        """The experiment is being stopped from outside: from now on its exit code proves nothing."""
        self._vitals.grace.stop()
        self._asked_to_stop.set()
        self._wake.set()

    def _flush(self) -> bool:
        """Have a look that begins after now, and return whether it came to its end."""
        self._flush_asked.set()
        self._vitals.grace.stop()
        with self._looks:
            wanted = self._begun_looks + 1
            self._wake.set()
            done = self._looks.wait_for(lambda: self._done_looks >= wanted, timeout=_FLUSH_WAIT_S)
            return done and self._last_look_held

    def _ask(self) -> Experiment:
        """Ask the operator how the experiment's containers ended, until it has seen it."""
        if not self._settings.stop_path or self._pusher is None or self._asked_to_stop.is_set():
            return Experiment.UNKNOWN
        if not self._flush_asked.is_set():
            # The kubelet asks for a flush before it ends a mirror. Who else sends SIGTERM, as a machine does that shuts
            # down without its kubelet, may have sent it to the experiment as well, and no hook fired there either.
            _LOG.warning("ended by a signal without the kubelet's hook: the experiment's exit codes prove nothing")
            return Experiment.UNKNOWN
        until = self._monotonic() + ASK_FOR_S
        while True:
            answer = self._pusher.push(replace(self._said(), stage=Stage.SEALED))
            if answer is not None and answer.experiment in (Experiment.SUCCEEDED, Experiment.FAILED):
                # The hook may have fired while the answer was on its way: then the exit was not their own accord.
                return Experiment.UNKNOWN if self._asked_to_stop.is_set() else answer.experiment
            if self._monotonic() >= until or self._asked_to_stop.wait(ASK_EVERY_S):
                return Experiment.UNKNOWN

    @property
    def _is_leaving(self) -> bool:
        """Whether the machine is being taken away."""
        announced = self._announced
        return announced is not None and announced.kind.is_hard

    def _be_announced(self, announced: Announcement | None) -> None:
        """Act on what the cloud announces: tell the operator, ask the experiment to stop, store what is new."""
        self._announced = announced
        self._vitals.grace.announce(is_leaving=self._is_leaving)
        self._tell()
        if self._is_leaving:
            # A program that stops for it may exit 0 with work undone, also if the notice comes to nothing.
            self._asked_to_stop.set()
        self._notice_file.show(announced if self._is_leaving else None)
        if announced is not None:
            self._wake.set()

    def _said(self) -> Report:
        announced = self._announced
        if announced is None:
            return self._writer.report
        return replace(self._writer.report, notice=announced.kind, notice_deadline=announced.deadline)

    def _note_state(self, report: Report) -> None:
        self._has_state = True
        self._vitals.metrics.note_report(report)
        self._tell()

    def _tell(self) -> None:
        # Not before it is known what the attempt started from: DONE would go back.
        if not self._has_state:
            return
        # Two threads tell: the last word is the newest then.
        with self._telling:
            said = self._said()
            self._leave(said)
            if self._pusher is not None:
                self._pusher.note(said)

    def _hear(self, answer: Answer) -> None:
        if answer.superseded and not self._writer.has_ended:
            # A hint only: what counts is the store.
            self._doubted.set()
            self._wake.set()

    def _push_last(self) -> None:
        if self._pusher is None:
            return
        for _ in range(_LAST_PUSHES):
            if self._pusher.push(self._said()) is not None:
                break
        self._pusher.stop()


def _has_arrived(signals: Collection[signal.Signals], *, within_s: float) -> bool:
    # A process that was stopped and goes on comes back from this call without a signal (signal(7)). Where its time is
    # up by then, CPython 3.11 returns a siginfo all the same, whose fields were never filled in.
    found = signal.sigtimedwait(signals, within_s)
    return found is not None and found.si_signo in signals
