//! Rows that a kernel puts into a cache, and where it must not.

use super::*;
use crate::SummaryOfRun;
use crate::sys::code;

/// Two heads of four positions of two bytes, of which one or more are new.
struct Rows {
    kernels: *mut sys::Kernels,
    write: sys::WriteRows,
}

impl Rows {
    fn new(rig: &Rig, sequence: i32) -> Rows {
        let path = CString::new(rig.stand_in.plugin().to_str().unwrap()).unwrap();
        // SAFETY: as the header says.
        let kernels = made(|out| unsafe { cumo_trt_kernels_load(rig.runtime, path.as_ptr(), out) });
        let (rows, cache) = (rig.buffer(2 * sequence as u64 * 2), rig.filled(2 * 4 * 2));
        let indices = rig.buffer(8);
        let write = sys::WriteRows {
            rows,
            indices,
            cache,
            batch: 1,
            heads: 2,
            sequence,
            pitch: 4,
            position_bytes: 2,
        };
        Rows { kernels, write }
    }

    fn put(&self, rig: &Rig) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_kernels_write_rows(self.kernels, rig.stream, &self.write) }
    }

    /// Frees all but the library, and gives what was counted.
    fn finish(self, rig: &Rig) -> SummaryOfRun {
        for address in [self.write.rows, self.write.indices, self.write.cache] {
            rig.free(address);
        }
        // SAFETY: as the header says.
        unsafe {
            cumo_trt_kernels_free(self.kernels);
            cumo_trt_stream_free(rig.stream);
            cumo_trt_runtime_free(rig.runtime);
        }
        rig.stand_in.summary().unwrap()
    }
}

#[test]
fn rows_go_to_where_the_index_is_when_it_runs_also_in_a_graph() {
    let rig = Rig::new();
    let rows = Rows::new(&rig, 1);
    ok(rig.write(rows.write.rows, &[5u8, 6, 7, 8]));
    ok(rig.write(rows.write.indices, &[0i64]));
    ok(rows.put(&rig));
    ok(rig.wait());
    rig.begin();
    ok(rows.put(&rig));
    let mut graph = ptr::null_mut();
    ok(rig.end(&mut graph));
    for index in [2i64, 3] {
        ok(rig.write(rows.write.indices, &[index]));
        ok(rig.launch(graph));
        ok(rig.wait());
    }
    let mut out = [0u8; 16];
    ok(rig.read(&mut out, rows.write.cache));
    ok(rig.wait());
    assert_eq!(out, [5, 6, 1, 1, 5, 6, 5, 6, 7, 8, 1, 1, 7, 8, 7, 8]);
    // SAFETY: as the header says.
    unsafe { cumo_trt_graph_free(graph) };
    let summary = rows.finish(&rig);
    assert_eq!((summary.row_writes, summary.bytes_on_device), (3, 12));
    assert_eq!(rig.stand_in.violations(), [""; 0]);
}

#[test]
fn rows_that_do_not_lie_in_their_cache_are_found() {
    for index in [-1i64, 3, 4, i64::MIN, i64::MAX] {
        let rig = Rig::new();
        let rows = Rows::new(&rig, 2);
        ok(rig.fill(rows.write.rows, 1, 8));
        ok(rig.write(rows.write.indices, &[index]));
        ok(rows.put(&rig));
        fails(rig.wait(), code::CUDA, &format!("2 positions from {index} on are not all in"));
        rig.was_violated("not all in a cache of 4");
    }
}

#[test]
fn a_row_write_of_what_is_not_there_is_found() {
    type Change = fn(&Rig, &mut sys::WriteRows);
    let wrong: [(&str, Change); 5] = [
        ("bytes 0..2 of 2", |rig, write| write.rows = rig.buffer(4)),
        ("bytes 0..8 of 8", |rig, write| write.indices = rig.buffer(8)),
        ("that was freed", |rig, write| rig.free(write.cache)),
        ("reach past their allocation", |_, write| write.pitch = 5),
        ("no multiple of 8", |rig, write| write.indices = rig.filled(16) + 4),
    ];
    for (part, change) in wrong {
        let rig = Rig::new();
        let mut rows = Rows::new(&rig, 1);
        ok(rig.fill(rows.write.rows, 1, 4));
        ok(rig.write(rows.write.indices, &[0i64]));
        change(&rig, &mut rows.write);
        ok(rows.put(&rig));
        assert!(outcome(rig.wait()).is_some(), "{part}");
        rig.was_violated("write of rows: ");
        rig.was_violated(part);
    }
}

#[test]
fn a_kernel_that_did_not_run_before_is_not_captured() {
    let rig = Rig::new();
    let rows = Rows::new(&rig, 1);
    rig.begin();
    fails(rows.put(&rig), code::CUDA, "for the first time");
    assert!(outcome(rig.end(&mut ptr::null_mut())).is_some());
}

#[test]
fn a_library_without_kernels_and_one_that_is_none_are_refused() {
    let rig = Rig::with(&Settings { has_kernels: false, ..Settings::default() });
    let load = |path: &std::path::Path| {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: as the header says.
        unsafe { cumo_trt_kernels_load(rig.runtime, path.as_ptr(), &mut ptr::null_mut()) }
    };
    fails(load(&rig.stand_in.plugin()), code::PLUGIN, "has no kernels that write rows");
    fails(load(&rig.stand_in.folder().join("stand-in.json")), code::PLUGIN, "not the stand-in's");
}
