//! Streams and what is put on them.

use crate::error::Error;
use crate::handle::{EventHandle, GraphHandle, StreamHandle};
use crate::memory::DeviceBuffer;
use crate::runtime::Runtime;

/// Runs what is put on it in order, beside other streams. Dropped with work left, it still does
/// that.
pub struct Stream {
    pub(crate) handle: StreamHandle,
}

impl Stream {
    pub(crate) fn create(runtime: &Runtime) -> Result<Self, Error> {
        Ok(Stream { handle: StreamHandle::create(runtime.handle.clone())? })
    }

    /// Copies bytes to the start of a buffer and waits until they are there. Not for use while a
    /// graph is captured.
    ///
    /// # Errors
    /// [`Error::Run`] where they do not fit; [`Error::Cuda`], also of work that was on the stream.
    pub fn write(&self, to: &DeviceBuffer, from: &[u8]) -> Result<(), Error> {
        to.holds(from.len())?;
        self.handle.write(to.address(), from)
    }

    /// Copies bytes from the start of a buffer and waits until they are here. Not for use while a
    /// graph is captured.
    ///
    /// # Errors
    /// [`Error::Run`] where the buffer has fewer; [`Error::Cuda`], also of work that was on the
    /// stream.
    pub fn read(&self, to: &mut [u8], from: &DeviceBuffer) -> Result<(), Error> {
        from.holds(to.len())?;
        self.handle.read(to, from.address())
    }

    /// Puts a copy of a whole buffer to the start of another on the stream.
    ///
    /// # Errors
    /// [`Error::Run`] where it does not fit; [`Error::Cuda`].
    pub fn copy(&self, to: &DeviceBuffer, from: &DeviceBuffer) -> Result<(), Error> {
        let bytes = usize::try_from(from.bytes()).unwrap_or(usize::MAX);
        to.holds(bytes)?;
        self.handle.copy(to.address(), from.address(), bytes)
    }

    /// Puts the filling of a buffer with a byte on the stream.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn fill(&self, buffer: &DeviceBuffer, value: u8) -> Result<(), Error> {
        let bytes = usize::try_from(buffer.bytes()).unwrap_or(usize::MAX);
        self.handle.fill(buffer.address(), value, bytes)
    }

    /// Waits until all that was put on the stream is done.
    ///
    /// # Errors
    /// [`Error::Cuda`], also of that work.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.handle.synchronize()
    }

    /// What is put on the stream from here on waits for the event.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn wait(&self, event: &Event) -> Result<(), Error> {
        self.handle.wait(&event.handle)
    }

    /// Records what `work` puts on the stream, without running it. Contexts and buffers in it must
    /// be kept while the graph is used: it holds their addresses.
    ///
    /// # Errors
    /// What `work` fails with; [`Error::Cuda`] where something in it cannot be captured. The
    /// stream is usable again in either case.
    pub fn capture<E: From<Error>>(
        &self,
        work: impl FnOnce(&Stream) -> Result<(), E>,
    ) -> Result<Graph, E> {
        self.handle.begin_graph()?;
        let mut recording = Recording { stream: self, is_over: false };
        work(self)?;
        recording.is_over = true;
        Ok(Graph { handle: self.handle.end_graph()? })
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
            // The error that ended it is the one to tell.
            drop(self.stream.handle.end_graph());
        }
    }
}

/// A point in a stream's work.
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
    /// [`Error::Cuda`].
    pub fn record(&self, stream: &Stream) -> Result<(), Error> {
        self.handle.record(&stream.handle)
    }

    /// Waits for it.
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

/// Recorded work, launched as one. See [`Stream::capture`].
pub struct Graph {
    handle: GraphHandle,
}

impl Graph {
    /// Puts the recorded work on a stream.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn launch(&self, stream: &Stream) -> Result<(), Error> {
        self.handle.launch(&stream.handle)
    }
}
