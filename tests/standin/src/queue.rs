//! Streams: what is put on them, when it is done, and what it is checked for.
#![allow(unsafe_code, reason = "copies between addresses that were checked")]

use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::device::{Device, State};
use crate::execution::Execution;
use crate::fault::{Fault, Result};
use crate::memory::HostAddress;
use crate::rows::RowWrite;
use crate::sys::code;

/// A stream: what it has yet to do, or what is captured of it.
#[derive(Default)]
pub(crate) struct Stream {
    work: VecDeque<Work>,
    /// How much was ever put on it, and how much of that is done.
    put: u64,
    done: u64,
    pub(crate) capture: Option<Capture>,
}

/// A capture under way.
pub(crate) struct Capture {
    work: Vec<Work>,
    /// The thread that must not do what cannot be captured.
    pub(crate) thread: ThreadId,
    /// What spoiled it.
    pub(crate) fault: Option<String>,
}

/// An event: where it was recorded, and when that was reached.
#[derive(Default, Clone, Copy)]
pub(crate) struct Event {
    recorded: Option<(usize, u64)>,
    reached: Option<Instant>,
}

/// Something that is put on a stream.
#[derive(Clone)]
pub(crate) enum Work {
    CopyToDevice { to: u64, from: HostAddress, bytes: u64 },
    CopyToHost { to: HostAddress, from: u64, bytes: u64 },
    CopyOnDevice { to: u64, from: u64, bytes: u64 },
    CopyRows { to: (u64, u64), from: (u64, u64), row_bytes: u64, rows: u64 },
    Fill { address: u64, value: u8, bytes: u64 },
    WriteRows(RowWrite),
    Execute(Arc<Execution>),
    Launch(Arc<Vec<Work>>),
    Record { event: usize, ticket: u64 },
    Wait { stream: usize, ticket: u64 },
}

impl Stream {
    /// Drops what is left to do.
    pub(crate) fn clear(&mut self) {
        self.work.clear();
        self.done = self.put;
    }
}

impl State {
    /// Whether work that is not done yet uses memory of the host from `start` on.
    pub(crate) fn uses_host(&self, start: HostAddress, bytes: u64) -> bool {
        let range = (start.0.addr().get() as u64, bytes);
        self.any_work(&|work| match work {
            Work::CopyToDevice { from: host, bytes, .. }
            | Work::CopyToHost { to: host, bytes, .. } => {
                overlap(range, (host.0.addr().get() as u64, *bytes))
            }
            _ => false,
        })
    }

    /// Whether work that is not done yet uses device memory from `start` on.
    pub(crate) fn uses_device(&self, start: u64, bytes: u64) -> bool {
        let is_in = |address: &u64| (start..start + bytes).contains(address);
        self.any_work(&|work| match work {
            Work::CopyToDevice { to, .. } => is_in(to),
            Work::CopyToHost { from, .. } => is_in(from),
            Work::CopyOnDevice { to, from, .. } => is_in(to) || is_in(from),
            Work::CopyRows { to, from, .. } => is_in(&to.0) || is_in(&from.0),
            Work::Fill { address, .. } => is_in(address),
            Work::WriteRows(write) => [write.rows, write.indices, write.cache].iter().any(is_in),
            Work::Execute(execution) => execution.addresses.values().any(is_in),
            Work::Launch(_) | Work::Record { .. } | Work::Wait { .. } => false,
        })
    }

    fn any_work(&self, is_it: &dyn Fn(&Work) -> bool) -> bool {
        self.streams.values().flat_map(|stream| &stream.work).any(|work| match work {
            Work::Launch(works) => works.iter().any(is_it),
            work => is_it(work),
        })
    }
}

impl Device {
    /// Puts work on a stream: into its capture where there is one.
    ///
    /// # Errors
    /// Of the work, where it is done at once.
    pub(crate) fn put(&self, state: &mut State, stream: usize, work: Work) -> Result<()> {
        let Some(target) = state.streams.get_mut(&stream) else { return Ok(()) };
        if let Some(capture) = &mut target.capture {
            capture.work.push(work);
            return Ok(());
        }
        target.put += 1;
        target.work.push_back(work);
        match self.settings.is_eager {
            true => self.run(state, stream),
            false => Ok(()),
        }
    }

    /// Whether work of this stream is captured.
    pub(crate) fn is_captured(state: &State, stream: usize) -> bool {
        state.streams.get(&stream).is_some_and(|stream| stream.capture.is_some())
    }

    /// Does all that is on a stream.
    ///
    /// # Errors
    /// The work's.
    pub(crate) fn run(&self, state: &mut State, stream: usize) -> Result<()> {
        self.run_until(state, stream, u64::MAX)
    }

    /// Does what is on any stream.
    ///
    /// # Errors
    /// The work's.
    pub(crate) fn run_all(&self, state: &mut State) -> Result<()> {
        let streams: Vec<usize> = state.streams.keys().copied().collect();
        streams.into_iter().try_for_each(|stream| self.run(state, stream))
    }

    fn run_until(&self, state: &mut State, stream: usize, ticket: u64) -> Result<()> {
        // A stream that was freed has done all.
        while let Some(source) = state.streams.get_mut(&stream)
            && source.done < ticket
            && let Some(work) = source.work.pop_front()
        {
            source.done += 1;
            if let Err(fault) = self.perform(state, &work) {
                state.lose(fault.text.clone());
                return Err(fault);
            }
        }
        Ok(())
    }

    fn perform(&self, state: &mut State, work: &Work) -> Result<()> {
        let bad = |what: &str, why: String| self.journal.violation(format!("{what}: {why}"));
        match work {
            Work::CopyToDevice { to, from, bytes } => {
                let place = state.memory.place_of(*to, *bytes);
                let place = place.map_err(|why| bad("copy to the device", why))?;
                // SAFETY: the place has so many bytes; whoever put the copy on the stream keeps the
                // host's memory until the stream was waited for, as the header asks.
                unsafe { ptr::copy(from.0.as_ptr(), place.as_ptr(), length(*bytes)) };
                state.memory.mark_written(*to, *bytes);
                self.journal.count().bytes_to_device += bytes;
            }
            Work::CopyToHost { to, from, bytes } => {
                let place = state.memory.written_place_of(*from, *bytes);
                let place = place.map_err(|why| bad("copy to the host", why))?;
                // SAFETY: as above.
                unsafe { ptr::copy(place.as_ptr(), to.0.as_ptr(), length(*bytes)) };
                self.journal.count().bytes_to_host += bytes;
            }
            Work::CopyOnDevice { to, from, bytes } => {
                let done = self.copy_on_device(state, *to, *from, *bytes);
                done.map_err(|why| bad("copy on the device", why))?;
            }
            Work::CopyRows { to, from, row_bytes, rows } => {
                let run = |row: u64, (start, pitch): (u64, u64)| start + row * pitch;
                // A device copies them in any order.
                let of_others = (0..*rows).find_map(|row| {
                    let to = (run(row, *to), *row_bytes);
                    let other = |other: &u64| overlap((run(*other, *from), *row_bytes), to);
                    (0..*rows).find(other).map(|other| (row, other))
                });
                if let Some((row, other)) = of_others {
                    return Err(bad("copy of rows", format!("row {row} goes to where {other} is")));
                }
                for row in 0..*rows {
                    let (to, from) = (run(row, *to), run(row, *from));
                    let done = self.copy_on_device(state, to, from, *row_bytes);
                    done.map_err(|why| bad("copy of rows", format!("row {row}: {why}")))?;
                }
            }
            Work::Fill { address, value, bytes } => {
                let place = state.memory.place_of(*address, *bytes);
                let place = place.map_err(|why| bad("fill", why))?;
                // SAFETY: the place has so many bytes.
                unsafe { place.write_bytes(*value, length(*bytes)) };
                state.memory.mark_written(*address, *bytes);
            }
            Work::WriteRows(write) => {
                let done = self.write_rows(state, write);
                done.map_err(|why| bad("write of rows", why))?;
            }
            Work::Execute(execution) => self.execute(state, execution)?,
            Work::Launch(works) => {
                works.iter().try_for_each(|work| self.perform(state, work))?;
            }
            Work::Record { event, ticket } => {
                if let Some(event) = state.events.get_mut(event)
                    && event.recorded.is_some_and(|(_, last)| last == *ticket)
                {
                    event.reached = Some(Instant::now());
                }
            }
            Work::Wait { stream, ticket } => self.run_until(state, *stream, *ticket)?,
        }
        Ok(())
    }

    pub(crate) fn copy_on_device(
        &self,
        state: &mut State,
        to: u64,
        from: u64,
        bytes: u64,
    ) -> std::result::Result<(), String> {
        let source = state.memory.written_place_of(from, bytes)?;
        let place = state.memory.place_of(to, bytes)?;
        if overlap((from, bytes), (to, bytes)) {
            return Err(format!("{bytes} bytes at {from:#x} and {to:#x} overlap"));
        }
        // SAFETY: both places have so many bytes, which do not overlap.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), place.as_ptr(), length(bytes)) };
        state.memory.mark_written(to, bytes);
        self.journal.count().bytes_on_device += bytes;
        Ok(())
    }

    /// Puts an event's record on a stream.
    ///
    /// # Errors
    /// A violation in a capture; what [`Device::put`] fails with.
    pub(crate) fn record(&self, state: &mut State, event: usize, stream: usize) -> Result<()> {
        if Self::is_captured(state, stream) {
            return self.refuse_in_capture(state, "an event was recorded");
        }
        let ticket = state.streams.get(&stream).map_or(0, |stream| stream.put + 1);
        if let Some(event) = state.events.get_mut(&event) {
            *event = Event { recorded: Some((stream, ticket)), reached: None };
        }
        self.put(state, stream, Work::Record { event, ticket })
    }

    /// Where an event was recorded.
    ///
    /// # Errors
    /// A violation where it never was.
    fn recorded(&self, state: &State, event: usize) -> Result<(usize, u64)> {
        let recorded = state.events.get(&event).and_then(|event| event.recorded);
        recorded.ok_or_else(|| self.journal.violation("an event was used that was never recorded"))
    }

    /// Lets a stream wait for an event.
    ///
    /// # Errors
    /// A violation where the event was never recorded, or the stream is captured.
    pub(crate) fn wait(&self, state: &mut State, stream: usize, event: usize) -> Result<()> {
        if Self::is_captured(state, stream) {
            return self.refuse_in_capture(state, "a stream was made to wait for an event");
        }
        let (source, ticket) = self.recorded(state, event)?;
        self.put(state, stream, Work::Wait { stream: source, ticket })
    }

    /// Does all up to an event.
    ///
    /// # Errors
    /// A violation where it was never recorded; the work's.
    pub(crate) fn reach(&self, state: &mut State, event: usize) -> Result<()> {
        let (stream, ticket) = self.recorded(state, event)?;
        self.run_until(state, stream, ticket)
    }

    /// The time between two events.
    ///
    /// # Errors
    /// A violation where one was not reached.
    pub(crate) fn elapsed(&self, state: &State, start: usize, end: usize) -> Result<Duration> {
        let reached = |event: usize| {
            let reached = state.events.get(&event).and_then(|event| event.reached);
            reached.ok_or_else(|| {
                self.journal.violation("the time of an event was asked for before it")
            })
        };
        let start = reached(start)?;
        Ok(reached(end)?.saturating_duration_since(start))
    }

    /// Begins to capture what is put on a stream.
    ///
    /// # Errors
    /// It is captured already.
    pub(crate) fn begin_capture(&self, state: &mut State, stream: usize) -> Result<()> {
        self.refuse_in_capture(state, "a capture was begun")?;
        if let Some(stream) = state.streams.get_mut(&stream) {
            let thread = std::thread::current().id();
            stream.capture = Some(Capture { work: Vec::new(), thread, fault: None });
        }
        Ok(())
    }

    /// Ends a capture and gives what was captured.
    ///
    /// # Errors
    /// There is none, or it was spoiled.
    pub(crate) fn end_capture(&self, state: &mut State, stream: usize) -> Result<Vec<Work>> {
        let capture = state.streams.get_mut(&stream).and_then(|stream| stream.capture.take());
        let Some(capture) = capture else {
            return Err(self.journal.violation("a capture was ended that was not begun"));
        };
        match capture.fault {
            None => Ok(capture.work),
            Some(why) => Err(Fault::new(code::CUDA, format!("the capture was spoiled: {why}"))),
        }
    }

    /// Refuses a graph whose contexts are not as they were.
    ///
    /// # Errors
    /// A violation.
    pub(crate) fn check_graph(&self, state: &State, works: &[Work]) -> Result<()> {
        works.iter().try_for_each(|work| match work {
            Work::Execute(execution) => self.check_context(state, execution),
            _ => Ok(()),
        })
    }

    pub(crate) fn check_context(&self, state: &State, execution: &Execution) -> Result<()> {
        let (context, changes) = execution.context;
        let graph = &execution.header.graph;
        match state.contexts.get(&context) {
            None => {
                let text = format!("an execution of `{graph}` whose context was freed");
                Err(self.journal.violation(text))
            }
            Some(now) if *now != changes => {
                let text = format!("an execution of `{graph}` whose context was changed since");
                Err(self.journal.violation(text))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether two ranges, as start and length, share a byte.
pub(crate) fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    let end = |(start, bytes): (u64, u64)| start.saturating_add(bytes);
    a.1 > 0 && b.1 > 0 && a.0 < end(b) && b.0 < end(a)
}

pub(crate) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
