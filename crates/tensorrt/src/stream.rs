//! Streams and what is put on them.

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::Error;
use crate::handle::{EventHandle, GraphHandle, StreamHandle};
use crate::memory::DeviceBuffer;
use crate::runtime::Runtime;
use crate::work::{Used, Work};

/// Runs what is put on it in order, beside other streams.
///
/// What its work uses may be dropped while the device is still at it: the stream keeps buffers,
/// contexts and graphs until it was waited for ([`Stream::synchronize`], [`Stream::read`],
/// [`Stream::write`]), and waits itself when it is dropped. The order of work on *different*
/// streams is the caller's to say, with events: the memory of a buffer or context that two streams
/// use at once has undefined content, and nothing worse.
pub struct Stream {
    // The order is the order of dropping.
    pub(crate) handle: StreamHandle,
    work: RefCell<Work>,
}

impl Stream {
    pub(crate) fn create(runtime: &Runtime) -> Result<Self, Error> {
        let handle = StreamHandle::create(runtime.handle.clone())?;
        Ok(Stream { handle, work: RefCell::default() })
    }

    /// Keeps what work uses that is about to be put on the stream.
    pub(crate) fn uses(&self, used: Used) {
        self.work.borrow_mut().uses(used);
    }

    /// Copies bytes to the start of a buffer and waits until they are there.
    ///
    /// # Errors
    /// [`Error::Run`] where they do not fit, or a graph is captured; [`Error::Cuda`], also of work
    /// that was on the stream.
    pub fn write(&self, to: &DeviceBuffer, from: &[u8]) -> Result<(), Error> {
        self.not_while_captured("copy from the host")?;
        to.holds(from.len())?;
        self.uses(to.used());
        self.handle.write(to.address(), from)?;
        self.finish();
        Ok(())
    }

    /// Copies bytes from the start of a buffer and waits until they are here.
    ///
    /// # Errors
    /// [`Error::Run`] where the buffer has fewer, or a graph is captured; [`Error::Cuda`], also of
    /// work that was on the stream.
    pub fn read(&self, to: &mut [u8], from: &DeviceBuffer) -> Result<(), Error> {
        self.not_while_captured("copy to the host")?;
        from.holds(to.len())?;
        self.uses(from.used());
        self.handle.read(to, from.address())?;
        self.finish();
        Ok(())
    }

    /// Puts a copy of a whole buffer to the start of another on the stream.
    ///
    /// # Errors
    /// [`Error::Run`] where it does not fit; [`Error::Cuda`].
    pub fn copy(&self, to: &DeviceBuffer, from: &DeviceBuffer) -> Result<(), Error> {
        let bytes = usize::try_from(from.bytes()).unwrap_or(usize::MAX);
        to.holds(bytes)?;
        self.uses(to.used());
        self.uses(from.used());
        self.handle.copy(to.address(), from.address(), bytes)
    }

    /// Puts the filling of a buffer with a byte on the stream.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn fill(&self, buffer: &DeviceBuffer, value: u8) -> Result<(), Error> {
        let bytes = usize::try_from(buffer.bytes()).unwrap_or(usize::MAX);
        self.uses(buffer.used());
        self.handle.fill(buffer.address(), value, bytes)
    }

    /// Waits until all that was put on the stream is done.
    ///
    /// # Errors
    /// [`Error::Run`] while a graph is captured; [`Error::Cuda`], also of that work.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.not_while_captured("wait for the stream")?;
        self.handle.synchronize()?;
        self.finish();
        Ok(())
    }

    /// What is put on the stream from here on waits for the event.
    ///
    /// # Errors
    /// [`Error::Run`] while a graph is captured, which is of one stream alone; [`Error::Cuda`].
    pub fn wait(&self, event: &Event) -> Result<(), Error> {
        self.not_while_captured("wait for an event")?;
        self.handle.wait(&event.handle)
    }

    /// Records what `work` puts on the stream, without running it. The graph keeps the contexts
    /// and buffers in it as they are now: what is dropped or set in a context later does not
    /// change it. In `work` nothing may be dropped or allocated on the device.
    ///
    /// # Errors
    /// What `work` fails with; [`Error::Cuda`] where something in it cannot be captured. The
    /// stream is usable again in either case.
    pub fn capture<E: From<Error>>(
        &self,
        work: impl FnOnce(&Stream) -> Result<(), E>,
    ) -> Result<Graph, E> {
        self.not_while_captured("capture another graph")?;
        self.handle.begin_graph()?;
        self.work.borrow_mut().begin();
        let mut recording = Recording { stream: self, is_over: false };
        work(self)?;
        recording.is_over = true;
        // Kept until the recording has ended, also where that fails.
        let used = self.work.borrow_mut().end();
        let handle = self.handle.end_graph()?;
        let kept = Arc::new(GraphUse { _graph: handle.kept(), _used: used });
        Ok(Graph { handle, kept })
    }

    /// Lets go of what the work used that was waited for.
    fn finish(&self) {
        let done = self.work.borrow_mut().finish();
        drop(done);
    }

    pub(crate) fn not_while_captured(&self, doing: &str) -> Result<(), Error> {
        if self.work.borrow().is_recorded() {
            let reason = format!("cannot {doing} while a graph is captured");
            return Err(Error::Run { reason });
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What is kept is freed after this. Where waiting fails, the device is lost and uses
        // nothing more.
        drop(self.handle.synchronize());
    }
}

/// Ends a capture that `work` left by an error or a panic.
struct Recording<'a> {
    stream: &'a Stream,
    is_over: bool,
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let used = self.stream.work.borrow_mut().end();
            // The error that ended it is the one to tell.
            drop(self.stream.handle.end_graph());
            drop(used);
        }
    }
}

/// A point in a stream's work. May be dropped at any time.
pub struct Event {
    handle: EventHandle,
}

impl Event {
    pub(crate) fn create(runtime: &Runtime) -> Result<Self, Error> {
        Ok(Event { handle: EventHandle::create(runtime.handle.clone())? })
    }

    /// Stands, from here on, for what is on the stream by now.
    ///
    /// # Errors
    /// [`Error::Run`] while a graph is captured, which is of one stream alone; [`Error::Cuda`].
    pub fn record(&self, stream: &Stream) -> Result<(), Error> {
        stream.not_while_captured("record an event")?;
        self.handle.record(&stream.handle)
    }

    /// Waits for it. The stream goes on keeping what its work used until it is waited for itself.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn synchronize(&self) -> Result<(), Error> {
        self.handle.synchronize()
    }

    /// Milliseconds from this event to another, both recorded and done.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn milliseconds_until(&self, end: &Event) -> Result<f32, Error> {
        self.handle.elapsed(&end.handle)
    }
}

/// Recorded work, launched as one. Keeps the contexts and buffers that are in it. See
/// [`Stream::capture`].
pub struct Graph {
    handle: GraphHandle,
    kept: Arc<GraphUse>,
}

/// A graph and what it uses, in the order of dropping.
struct GraphUse {
    _graph: Used,
    _used: Vec<Used>,
}

impl Graph {
    /// Puts the recorded work on a stream. The graph may be dropped before that is done.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn launch(&self, stream: &Stream) -> Result<(), Error> {
        stream.uses(self.kept.clone());
        self.handle.launch(&stream.handle)
    }
}

#[cfg(test)]
mod tests;
