//! Statuses.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;

use super::c_text;
use crate::fault::Fault;
use crate::journal::Journal;
use crate::objects::{self, Object};
use crate::sys;

/// A fault with the texts that are given out.
pub(super) struct Status {
    code: i32,
    text: CString,
    nodes: Vec<Node>,
}

struct Node {
    text: CString,
    name: CString,
    operator: CString,
    index: i64,
}

impl Object for Status {
    const KIND: &'static str = "status";

    fn journal(&self) -> Option<Arc<Journal>> {
        None
    }
}

impl Status {
    pub(super) fn new(fault: Fault) -> Status {
        let nodes = fault.nodes.iter().map(|node| Node {
            text: c_text(&node.text),
            name: c_text(&node.name),
            operator: c_text(&node.operator),
            index: node.index,
        });
        Status { code: fault.code, text: c_text(&fault.text), nodes: nodes.collect() }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_status_code(status: *const sys::Status) -> i32 {
    objects::get::<Status, _>(status).map_or(crate::fault::INVALID_ARGUMENT, |status| status.code)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_status_text(status: *const sys::Status) -> *const c_char {
    objects::get::<Status, _>(status).map_or(ptr::null(), |status| status.text.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_status_num_parse_errors(status: *const sys::Status) -> usize {
    objects::get::<Status, _>(status).map_or(0, |status| status.nodes.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_status_parse_error(
    status: *const sys::Status,
    index: usize,
) -> sys::ParseError {
    let empty = c"".as_ptr();
    let none = sys::ParseError { text: empty, name: empty, operator_type: empty, index: -1 };
    let Ok(status) = objects::get::<Status, _>(status) else { return none };
    status.nodes.get(index).map_or(none, |node| sys::ParseError {
        text: node.text.as_ptr(),
        name: node.name.as_ptr(),
        operator_type: node.operator.as_ptr(),
        index: node.index,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_status_free(status: *mut sys::Status) {
    objects::free::<Status, _>(status);
}
