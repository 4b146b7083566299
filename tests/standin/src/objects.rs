//! Handles: numbers that look like pointers, so that one which was freed is found out and does no
//! harm.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::{Fault, Result};
use crate::journal::Journal;

/// What stands behind a handle.
struct Entry {
    kind: &'static str,
    /// None after it was freed.
    object: Option<Arc<dyn Any + Send + Sync>>,
    parent: usize,
    /// What was made from it and is not freed yet.
    children: Vec<&'static str>,
    journal: Option<Arc<Journal>>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<usize, Entry>,
    made: usize,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

fn with_table<T>(action: impl FnOnce(&mut Table) -> T) -> T {
    let mut table: MutexGuard<'_, _> = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    action(table.get_or_insert_with(Table::default))
}

/// What can stand behind a handle.
pub(crate) trait Object: Any + Send + Sync {
    /// Its name in messages.
    const KIND: &'static str;

    /// Where what is wrong with its handle is written down; none where nobody asks.
    fn journal(&self) -> Option<Arc<Journal>>;
}

/// The number of a pointer that was given out; null is 0.
pub(crate) fn number<P>(pointer: *const P) -> usize {
    pointer.addr()
}

/// Makes a handle for `object`, which was made from the handle `parent` (0: from nothing).
pub(crate) fn put<T: Object, P>(object: Arc<T>, parent: usize) -> *mut P {
    with_table(|table| {
        table.made += 1;
        // Nothing is ever mapped there.
        let number = table.made * 16;
        if let Some(parent) = table.entries.get_mut(&parent) {
            parent.children.push(T::KIND);
        }
        let journal = object.journal();
        let (kind, children) = (T::KIND, Vec::new());
        let entry = Entry { kind, object: Some(object), parent, children, journal };
        table.entries.insert(number, entry);
        std::ptr::without_provenance_mut(number)
    })
}

/// What a handle was made from.
pub(crate) fn parent(number: usize) -> usize {
    with_table(|table| table.entries.get(&number).map_or(0, |entry| entry.parent))
}

/// The object behind a handle.
///
/// # Errors
/// A null, or what is no handle; a violation where it was freed.
pub(crate) fn get<T: Object, P>(pointer: *const P) -> Result<Arc<T>> {
    let kind = T::KIND;
    let found = with_table(|table| match table.entries.get(&number(pointer)) {
        None => {
            Err((None, format!("a {kind} was expected, and the pointer is none of this library's")))
        }
        Some(Entry { object: None, kind: was, journal, .. }) => {
            Err((journal.clone(), format!("a {was} was used after it was freed")))
        }
        Some(Entry { object: Some(object), kind: was, journal, .. }) => {
            let wrong = || (journal.clone(), format!("a {kind} was expected, not a {was}"));
            object.clone().downcast::<T>().map_err(|_| wrong())
        }
    });
    found.map_err(|(journal, text)| match journal {
        _ if pointer.is_null() => Fault::argument(format!("a {kind} was expected, not null")),
        Some(journal) => journal.violation(text),
        None => Fault::argument(text),
    })
}

/// Frees a handle and gives what stood behind it; null is let through. What is wrong is a
/// violation.
pub(crate) fn free<T: Object, P>(pointer: *const P) -> Option<Arc<T>> {
    if pointer.is_null() {
        return None;
    }
    let object = get::<T, P>(pointer).ok()?;
    let left = with_table(|table| {
        let entry = table.entries.get_mut(&number(pointer))?;
        entry.object = None;
        let (parent, left) = (entry.parent, std::mem::take(&mut entry.children));
        if let Some(parent) = table.entries.get_mut(&parent)
            && let Some(place) = parent.children.iter().position(|kind| *kind == T::KIND)
        {
            parent.children.swap_remove(place);
        }
        Some(left)
    });
    let left = left.unwrap_or_default();
    if !left.is_empty()
        && let Some(journal) = object.journal()
    {
        let left = left.join(", ");
        journal.violation(format!("a {} was freed before what was made from it: {left}", T::KIND));
    }
    Some(object)
}
