//! Who keeps what, and for how long, on a shim that notes its calls.

use crate::handle::fake::{calls, fail, runtime};
use crate::{Context, DeviceBuffer, Error, NewRows, Runtime};

/// A context of user-managed memory with its buffers set.
fn context(runtime: &Runtime, x: &DeviceBuffer, memory: &DeviceBuffer) -> Context {
    let mut context = runtime.load(&[0]).unwrap().context_without_memory().unwrap();
    context.set_tensor("x", x).unwrap();
    context.set_memory(memory).unwrap();
    context
}

/// The names of what was freed since the last time.
fn freed() -> Vec<String> {
    let name = |call: String| call.split(' ').next().unwrap().to_owned();
    calls().into_iter().map(name).filter(|name| name.ends_with("_free")).collect()
}

#[test]
fn a_graph_keeps_the_contexts_and_buffers_that_it_was_captured_with() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    let (x, memory) = (runtime.buffer(8).unwrap(), runtime.buffer(256).unwrap());
    let copied = runtime.buffer(8).unwrap();
    let mut context = context(&runtime, &x, &memory);
    let graph = stream
        .capture::<Error>(|stream| {
            context.enqueue(stream)?;
            stream.copy(&copied, &x)
        })
        .unwrap();
    // The context gets another buffer, the graph has the old one; then all but the graph goes.
    context.set_tensor("x", &runtime.buffer(8).unwrap()).unwrap();
    drop((context, x, memory, copied));
    assert_eq!(freed(), ["buffer_free"], "the other buffer alone");
    graph.launch(&stream).unwrap();
    graph.launch(&stream).unwrap();
    stream.synchronize().unwrap();
    assert_eq!(freed(), [""; 0]);
    drop(graph);
    let order = ["graph_free", "context_free", "engine_free"];
    let freed = freed();
    assert_eq!(freed.len(), 6, "{freed:?}");
    assert_eq!(freed[0], "graph_free");
    let place = |name| freed.iter().position(|one| one == name).unwrap();
    assert!(order.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{freed:?}");
}

#[test]
fn a_stream_keeps_what_it_works_on_until_it_was_waited_for() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    let (x, memory) = (runtime.buffer(8).unwrap(), runtime.buffer(256).unwrap());
    let filled = runtime.buffer(8).unwrap();
    stream.fill(&filled, 1).unwrap();
    let mut context = context(&runtime, &x, &memory);
    context.enqueue(&stream).unwrap();
    let graph = stream.capture::<Error>(|stream| stream.fill(&filled, 0)).unwrap();
    graph.launch(&stream).unwrap();
    drop((context, x, memory, filled, graph));
    assert_eq!(freed(), [""; 0]);
    stream.read(&mut [0; 4], &runtime.buffer(4).unwrap()).unwrap();
    let freed = freed();
    assert_eq!(freed.iter().filter(|name| *name == "buffer_free").count(), 4, "{freed:?}");
    for once in ["context_free", "engine_free", "graph_free"] {
        assert_eq!(freed.iter().filter(|name| *name == once).count(), 1, "{freed:?}");
    }
}

#[test]
fn a_write_is_waited_for_and_lets_go_of_what_the_stream_worked_on() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    stream.fill(&runtime.buffer(8).unwrap(), 1).unwrap();
    let written = runtime.buffer(4).unwrap();
    assert_eq!(freed(), [""; 0]);
    stream.write(&written, &[0; 4]).unwrap();
    assert_eq!(freed(), ["buffer_free"], "the one that was filled");
    drop(written);
    assert_eq!(freed(), ["buffer_free"]);
}

#[test]
fn a_dropped_stream_waits_before_it_lets_go() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    stream.fill(&runtime.buffer(8).unwrap(), 1).unwrap();
    calls();
    drop(stream);
    let names: Vec<_> =
        calls().iter().map(|call| call.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["stream_synchronize", "stream_free", "buffer_free"]);
}

#[test]
fn what_fails_to_be_waited_for_is_kept() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    stream.fill(&runtime.buffer(8).unwrap(), 1).unwrap();
    fail(Some("stream_synchronize"));
    assert!(matches!(stream.synchronize(), Err(Error::Cuda { .. })));
    assert_eq!(freed(), [""; 0]);
    fail(None);
    stream.synchronize().unwrap();
    assert_eq!(freed(), ["buffer_free"]);
}

#[test]
fn a_capture_that_fails_or_panics_leaves_the_stream_usable() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    let buffer = runtime.buffer(8).unwrap();
    let broken = |stream: &crate::Stream| {
        stream.fill(&buffer, 1)?;
        Err(Error::Cancelled)
    };
    assert!(matches!(stream.capture(broken).err(), Some(Error::Cancelled)));
    let panicking = std::panic::AssertUnwindSafe(|| {
        stream.capture::<Error>(|_| panic!("as it is tested")).map(drop)
    });
    std::panic::catch_unwind(panicking).unwrap_err();
    fail(Some("graph_end"));
    let failed = stream.capture(|stream| stream.fill(&buffer, 1));
    assert!(matches!(failed.err(), Some(Error::Cuda { .. })));
    fail(None);
    let calls = calls();
    let count = |name| calls.iter().filter(|call| call.starts_with(name)).count();
    assert_eq!((count("graph_begin"), count("graph_end"), count("graph_free")), (3, 3, 2));
    drop(buffer);
    assert_eq!(freed(), ["buffer_free"], "no graph has it");
    stream.synchronize().unwrap();
}

#[test]
fn what_cannot_be_captured_is_refused_before_the_driver_sees_it() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    let (event, buffer) = (runtime.event().unwrap(), runtime.buffer(8).unwrap());
    let refused = |error: Result<(), Error>, doing: &str| {
        let expected = format!("cannot {doing} while a graph is captured");
        assert_eq!(error.unwrap_err().to_string(), expected);
    };
    stream
        .capture::<Error>(|stream| {
            calls();
            refused(stream.write(&buffer, &[0; 8]), "copy from the host");
            refused(stream.read(&mut [0; 8], &buffer), "copy to the host");
            refused(stream.synchronize(), "wait for the stream");
            refused(stream.wait(&event), "wait for an event");
            refused(event.record(stream), "record an event");
            refused(stream.capture::<Error>(|_| Ok(())).map(drop), "capture another graph");
            assert_eq!(calls(), [""; 0]);
            stream.fill(&buffer, 0)
        })
        .unwrap();
    stream.write(&buffer, &[0; 8]).unwrap();
}

#[test]
fn a_graph_keeps_the_rows_and_the_cache_that_it_writes() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    let kernels = runtime.kernels("plugin".as_ref()).unwrap();
    let [rows, indices, cache] = [12, 8, 60].map(|bytes| runtime.buffer(bytes).unwrap());
    let new = |rows, indices, cache| NewRows {
        rows,
        indices,
        cache,
        batch: 1,
        heads: 3,
        sequence: 2,
        pitch: 10,
        position_bytes: 2,
    };
    let graph = stream
        .capture::<Error>(|stream| stream.write_rows(&kernels, &new(&rows, &indices, &cache)))
        .unwrap();
    drop((rows, indices, cache, kernels));
    assert_eq!(freed(), ["kernels_free"]);
    graph.launch(&stream).unwrap();
    stream.synchronize().unwrap();
    drop(graph);
    assert_eq!(freed(), ["graph_free", "buffer_free", "buffer_free", "buffer_free"]);
}

#[test]
fn kernels_of_a_file_that_is_cut_off_are_refused_before_the_loader_sees_it() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libcumo_plugin.so");
    std::fs::write(&file, b"\x7fELF").unwrap();
    calls();
    let Err(error) = runtime.kernels(&file) else { panic!("it is cut off") };
    assert!(matches!(error, Error::Plugin { .. }), "{error:?}");
    assert!(error.to_string().contains("libcumo_plugin.so is cut off: it has 4 bytes"), "{error}");
    assert_eq!(calls(), [""; 0]);
}

#[test]
fn rows_outside_of_their_buffers_are_refused_before_the_device_sees_them() {
    let runtime = runtime();
    let stream = runtime.stream().unwrap();
    let kernels = runtime.kernels("plugin".as_ref()).unwrap();
    let [rows, indices, cache] = [12, 8, 60].map(|bytes| runtime.buffer(bytes).unwrap());
    let good = NewRows {
        rows: &rows,
        indices: &indices,
        cache: &cache,
        batch: 1,
        heads: 3,
        sequence: 2,
        pitch: 10,
        position_bytes: 2,
    };
    stream.write_rows(&kernels, &good).unwrap();
    let within = cache.slice(0, 12).unwrap();
    let index = cache.slice(0, 8).unwrap();
    calls();
    let wrong = [
        (NewRows { sequence: 3, ..good }, "3 rows of 2 bytes for 1 x 3 heads of 10 positions: "),
        (NewRows { sequence: 3, ..good }, "of rows there are 12 bytes"),
        (NewRows { pitch: 11, ..good }, "of cache there are 60 bytes"),
        (NewRows { batch: 2, sequence: 1, pitch: 5, ..good }, "of indices there are 8 bytes"),
        (NewRows { heads: usize::MAX, ..good }, "of rows there are 12 bytes"),
        (NewRows { rows: &within, ..good }, "the cache lies over them"),
        (NewRows { indices: &index, ..good }, "the cache lies over them"),
    ];
    for (new, part) in wrong {
        let error = stream.write_rows(&kernels, &new).unwrap_err();
        assert!(matches!(error, Error::Run { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    // None to write.
    stream.write_rows(&kernels, &NewRows { sequence: 0, ..good }).unwrap();
    assert_eq!(calls(), [""; 0]);
}
