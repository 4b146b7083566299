//! Copies that fail or meet another stream, and captures that fail, by the safe interface.

use cumo_standin::{Settings, StandIn};
use cumo_tensorrt::{Error, Flavour, Library, Runtime, Staging, Stream};
use cumo_tests::stand_in;

/// A runtime with a stream, on a stand-in.
struct Device {
    runtime: Runtime,
    stream: Stream,
    stand_in: StandIn,
    _folder: tempfile::TempDir,
}

impl Device {
    fn new(settings: &Settings) -> Device {
        let (stand_in, places, folder) = stand_in(settings);
        let library = Library::open_at(Flavour::Rtx, &places).unwrap();
        let runtime = Runtime::new(&library, 0).unwrap();
        let stream = runtime.stream().unwrap();
        Device { runtime, stream, stand_in, _folder: folder }
    }

    /// Nothing was done that a device would not forgive.
    fn finish(self) {
        drop((self.stream, self.runtime));
        assert_eq!(self.stand_in.violations(), [""; 0]);
        assert!(self.stand_in.summary().is_some(), "all was freed");
    }
}

/// Bytes that tell where they belong.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_source_that_fails_leaves_staging_as_good_as_before() {
    let device = Device::new(&Settings::default());
    let Device { runtime, stream, .. } = &device;
    let mut staging = Staging::new(runtime, 256).unwrap();
    let buffer = runtime.buffer(1000).unwrap();
    let mut calls = 0;
    let failed = staging.fill(stream, &buffer, &mut |piece| {
        calls += 1;
        piece.fill(1);
        match calls {
            3 => Err(Error::Run { reason: "the source ends".to_owned() }),
            _ => Ok(()),
        }
    });
    assert!(matches!(failed, Err(Error::Run { reason }) if reason == "the source ends"));
    staging.write(stream, &buffer, &bytes(1000)).unwrap();
    assert_eq!(staging.read(stream, &buffer).unwrap(), bytes(1000));
    drop((staging, buffer));
    device.finish();
}

#[test]
fn staging_waits_for_copies_of_another_stream() {
    let device = Device::new(&Settings::default());
    let Device { runtime, stream, .. } = &device;
    let other = runtime.stream().unwrap();
    let mut staging = Staging::new(runtime, 1024).unwrap();
    let (a, b) = (runtime.buffer(100).unwrap(), runtime.buffer(100).unwrap());
    staging.write(stream, &a, &[1; 100]).unwrap();
    staging.write(&other, &b, &[2; 100]).unwrap();
    // Both are in one block, which is filled anew only when both were copied.
    for value in 3..15 {
        staging.write(&other, &b, &[value; 100]).unwrap();
    }
    assert_eq!(staging.read(&other, &b).unwrap(), [14; 100]);
    assert_eq!(staging.read(stream, &a).unwrap(), [1; 100]);
    drop((staging, a, b, other));
    device.finish();
}

#[test]
fn a_capture_that_was_left_by_an_error_leaves_the_stream_usable() {
    let device = Device::new(&Settings::default());
    let Device { runtime, stream, stand_in, .. } = &device;
    let (a, b) = (runtime.buffer(4).unwrap(), runtime.buffer(4).unwrap());
    stream.write(&a, &[1, 2, 3, 4]).unwrap();
    let left = stream.capture(|_| Err::<(), _>(Error::Run { reason: "enough".to_owned() }));
    assert!(matches!(left, Err(Error::Run { .. })));
    let graph = stream.capture(|stream| stream.copy(&b, &a)).unwrap();
    let mut got = [0; 4];
    for value in [[1, 2, 3, 4], [5, 6, 7, 8]] {
        stream.write(&a, &value).unwrap();
        graph.launch(stream).unwrap();
        stream.read(&mut got, &b).unwrap();
        assert_eq!(got, value);
    }
    assert_eq!(stand_in.violations(), [""; 0]);
    // Allocating is what a capture does not stand.
    let spoiled = stream.capture(|stream| {
        let other = runtime.buffer(4)?;
        stream.copy(&other, &a)
    });
    assert!(matches!(spoiled, Err(Error::Cuda { .. })));
    graph.launch(stream).unwrap();
    stream.read(&mut got, &b).unwrap();
    assert_eq!(got, [5, 6, 7, 8]);
    assert_eq!(stand_in.violations(), ["memory was allocated while a graph is captured"]);
}
