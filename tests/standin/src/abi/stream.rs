//! Streams, copies, events and graphs.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::{Arc, MutexGuard};

use super::runtime::Runtime;
use super::{give, guard};
use crate::device::{Device, State};
use crate::fault::{Fault, Result};
use crate::journal::Journal;
use crate::memory::{HostAddress, POISON};
use crate::objects::{self, Object};
use crate::queue::{self, Work};
use crate::sys;

pub(super) struct Stream {
    device: Arc<Device>,
    pub(super) number: usize,
}

impl Object for Stream {
    const KIND: &'static str = "stream";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.device.journal.clone())
    }
}

struct Event {
    device: Arc<Device>,
    number: usize,
}

impl Object for Event {
    const KIND: &'static str = "event";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.device.journal.clone())
    }
}

struct Graph {
    device: Arc<Device>,
    work: Arc<Vec<Work>>,
}

impl Object for Graph {
    const KIND: &'static str = "graph";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.device.journal.clone())
    }
}

/// Begins a call on a stream.
fn on<'a>(stream: &'a Stream, line: impl FnOnce() -> String) -> Result<MutexGuard<'a, State>> {
    stream.device.call(|| format!("stream {}: {}", stream.number, line()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_stream_create(
    runtime: *mut sys::Runtime,
    out: *mut *mut sys::Stream,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let parent = objects::number(runtime);
        let device = objects::get::<Runtime, _>(runtime)?.device.clone();
        let mut state = device.call(|| "make a stream".to_owned())?;
        let number = state.number();
        state.streams.insert(number, queue::Stream::default());
        drop(state);
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(Stream { device, number }), parent)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_stream_synchronize(stream: *mut sys::Stream) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || "synchronize".to_owned())?;
        if Device::is_captured(&state, stream.number) {
            return stream.device.refuse_in_capture(&mut state, "a stream was waited for");
        }
        stream.device.journal.count().waits += 1;
        stream.device.run(&mut state, stream.number)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_stream_wait(
    stream: *mut sys::Stream,
    event: *mut sys::Event,
) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let event = objects::get::<Event, _>(event)?;
        let mut state = on(&stream, || format!("wait for event {}", event.number))?;
        stream.device.wait(&mut state, stream.number, event.number)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_stream_free(stream: *mut sys::Stream) {
    let Some(stream) = objects::free::<Stream, _>(stream) else { return };
    let mut state = stream.device.state();
    if Device::is_captured(&state, stream.number) {
        stream.device.journal.violation("a stream was freed while a graph is captured");
    }
    // Work that is left is done; its faults are written down.
    drop(stream.device.run(&mut state, stream.number));
    state.streams.remove(&stream.number);
}

fn host(pointer: *const c_void) -> Result<HostAddress> {
    let pointer = NonNull::new(pointer.cast_mut().cast::<u8>());
    pointer.map(HostAddress).ok_or_else(|| Fault::argument("memory of the host is null"))
}

/// Refuses to capture a copy of memory that is not pinned.
fn check_host(stream: &Stream, state: &mut State, host: HostAddress, bytes: u64) -> Result<()> {
    let is_pinned = state.is_pinned(host.0.addr().get(), bytes);
    match Device::is_captured(state, stream.number) && !is_pinned {
        true => stream.device.refuse_in_capture(state, "pageable memory of the host was copied"),
        false => Ok(()),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_copy_to_device(
    stream: *mut sys::Stream,
    to: u64,
    from: *const c_void,
    bytes: usize,
) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("copy {bytes} bytes to the device"))?;
        if bytes == 0 {
            return Ok(());
        }
        let (from, bytes) = (host(from)?, bytes as u64);
        check_host(&stream, &mut state, from, bytes)?;
        stream.device.put(&mut state, stream.number, Work::CopyToDevice { to, from, bytes })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_copy_to_host(
    stream: *mut sys::Stream,
    to: *mut c_void,
    from: u64,
    bytes: usize,
) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("copy {bytes} bytes to the host"))?;
        if bytes == 0 {
            return Ok(());
        }
        let to = host(to)?;
        check_host(&stream, &mut state, to, bytes as u64)?;
        if !Device::is_captured(&state, stream.number) {
            // SAFETY: the header: so many bytes are to be written there. Who looks at them before
            // the copy was waited for finds this.
            unsafe { to.0.write_bytes(POISON, bytes) };
        }
        let work = Work::CopyToHost { to, from, bytes: bytes as u64 };
        stream.device.put(&mut state, stream.number, work)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_copy_on_device(
    stream: *mut sys::Stream,
    to: u64,
    from: u64,
    bytes: usize,
) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("copy {bytes} bytes on the device"))?;
        if bytes == 0 {
            return Ok(());
        }
        let work = Work::CopyOnDevice { to, from, bytes: bytes as u64 };
        stream.device.put(&mut state, stream.number, work)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_copy_rows_on_device(
    stream: *mut sys::Stream,
    to: u64,
    to_pitch: u64,
    from: u64,
    from_pitch: u64,
    row_bytes: usize,
    rows: usize,
) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("copy {rows} rows of {row_bytes} bytes"))?;
        let (row_bytes, rows) = (row_bytes as u64, rows as u64);
        if to_pitch < row_bytes || from_pitch < row_bytes {
            return Err(Fault::argument("rows are closer than they are long"));
        }
        if row_bytes == 0 || rows == 0 {
            return Ok(());
        }
        let work = Work::CopyRows { to: (to, to_pitch), from: (from, from_pitch), row_bytes, rows };
        stream.device.put(&mut state, stream.number, work)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_fill(
    stream: *mut sys::Stream,
    address: u64,
    value: u8,
    bytes: usize,
) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("fill {bytes} bytes with {value}"))?;
        if bytes == 0 {
            return Ok(());
        }
        let work = Work::Fill { address, value, bytes: bytes as u64 };
        stream.device.put(&mut state, stream.number, work)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_event_create(
    runtime: *mut sys::Runtime,
    out: *mut *mut sys::Event,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let parent = objects::number(runtime);
        let device = objects::get::<Runtime, _>(runtime)?.device.clone();
        let mut state = device.call(|| "make an event".to_owned())?;
        let number = state.number();
        state.events.insert(number, queue::Event::default());
        drop(state);
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(Event { device, number }), parent)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_event_record(
    event: *mut sys::Event,
    stream: *mut sys::Stream,
) -> *mut sys::Status {
    guard(|| {
        let event = objects::get::<Event, _>(event)?;
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("record event {}", event.number))?;
        stream.device.record(&mut state, event.number, stream.number)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_event_synchronize(event: *mut sys::Event) -> *mut sys::Status {
    guard(|| {
        let event = objects::get::<Event, _>(event)?;
        let mut state = event.device.call(|| format!("synchronize event {}", event.number))?;
        event.device.journal.count().waits += 1;
        event.device.reach(&mut state, event.number)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_event_elapsed(
    start: *mut sys::Event,
    end: *mut sys::Event,
    milliseconds: *mut f32,
) -> *mut sys::Status {
    guard(|| {
        let (start, end) = (objects::get::<Event, _>(start)?, objects::get::<Event, _>(end)?);
        let state = start.device.call(|| "time between events".to_owned())?;
        let elapsed = start.device.elapsed(&state, start.number, end.number)?;
        // SAFETY: the header.
        unsafe { give(milliseconds, elapsed.as_secs_f32() * 1e3) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_event_free(event: *mut sys::Event) {
    let Some(event) = objects::free::<Event, _>(event) else { return };
    event.device.state().events.remove(&event.number);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_graph_begin(stream: *mut sys::Stream) -> *mut sys::Status {
    guard(|| {
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || "begin to capture".to_owned())?;
        stream.device.begin_capture(&mut state, stream.number)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_graph_end(
    stream: *mut sys::Stream,
    out: *mut *mut sys::Graph,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        // A graph belongs to the runtime of its stream, which may be freed before it.
        let parent = objects::parent(objects::number(stream));
        let stream = objects::get::<Stream, _>(stream)?;
        let device = stream.device.clone();
        let mut state = match on(&stream, || "end the capture".to_owned()) {
            Ok(state) => state,
            Err(fault) => {
                // The capture ends also where this fails.
                drop(device.end_capture(&mut device.state(), stream.number));
                return Err(fault);
            }
        };
        let work = Arc::new(device.end_capture(&mut state, stream.number)?);
        device.allocation(&mut state, 0, "a graph")?;
        drop(state);
        device.journal.count().captures += 1;
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(Graph { device, work }), parent)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_graph_launch(
    graph: *mut sys::Graph,
    stream: *mut sys::Stream,
) -> *mut sys::Status {
    guard(|| {
        let graph = objects::get::<Graph, _>(graph)?;
        let stream = objects::get::<Stream, _>(stream)?;
        let mut state = on(&stream, || format!("launch a graph of {} works", graph.work.len()))?;
        if Device::is_captured(&state, stream.number) {
            return stream.device.refuse_in_capture(&mut state, "a graph was launched");
        }
        graph.device.check_graph(&state, &graph.work)?;
        graph.device.journal.count().launches += 1;
        stream.device.put(&mut state, stream.number, Work::Launch(graph.work.clone()))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_graph_free(graph: *mut sys::Graph) {
    objects::free::<Graph, _>(graph);
}
