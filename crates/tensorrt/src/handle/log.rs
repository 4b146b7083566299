//! Where messages go that TensorRT logs.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

use crate::message::{Message, Severity};
use crate::sys;

/// Messages that are kept; more than that are counted only.
const MAX_MESSAGES: usize = 10_000;

/// Receives the messages of one builder or runtime. Its address is given to the shim: it is boxed,
/// and dropped after the handle that has it.
pub(crate) struct LogTarget {
    max_severity: Severity,
    received: Mutex<Vec<Message>>,
}

impl LogTarget {
    /// Keeps messages that are at least so important.
    pub(crate) fn new(max_severity: Severity) -> Box<Self> {
        Box::new(LogTarget { max_severity, received: Mutex::default() })
    }

    /// What the shim is to be given. Holds while the box lives.
    pub(super) fn raw(&self) -> sys::Log {
        sys::Log {
            call: Some(receive),
            user: std::ptr::from_ref(self).cast_mut().cast(),
            max_severity: self.max_severity as i32,
        }
    }

    /// The messages since the last call.
    pub(crate) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `cumo_trt_log_fn`.
///
/// # Safety
/// As the header says: `user` is what [`LogTarget::raw`] gave, `text` holds `bytes` bytes.
unsafe extern "C" fn receive(user: *mut c_void, severity: i32, text: *const c_char, bytes: usize) {
    // SAFETY: the shim calls only while the handle lives that was made with this target, and the
    // handle's owner drops the target after it. Only shared access is made, behind a lock.
    let target = unsafe { &*user.cast_const().cast::<LogTarget>() };
    // SAFETY: the header says that `text` is valid for `bytes` during the call.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes) };
    let message = Message {
        severity: Severity::from_number(severity),
        text: String::from_utf8_lossy(text).into_owned(),
    };
    let mut received = target.received.lock().unwrap_or_else(PoisonError::into_inner);
    if received.len() < MAX_MESSAGES {
        received.push(message);
    }
}
