//! The way between host and device, and copies of rows, on the stand-in: work is done there as late
//! as it may be, so that a wait that was forgotten shows as other bytes.

use cumo_standin::Settings;
use cumo_tensorrt::{Error, Flavour, Library, Rows, Runtime, Staging};
use cumo_tests::stand_in;

fn bytes(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn what_goes_over_is_what_was_given_however_large_and_however_often() {
    let (stand_in, places, _folder) = stand_in(&Settings::default());
    let library = Library::open_at(Flavour::Rtx, &places).unwrap();
    let runtime = Runtime::new(&library, 0).unwrap();
    let stream = runtime.stream().unwrap();
    // Blocks of 1,024 bytes.
    let mut staging = Staging::new(&runtime, 1000).unwrap();
    for size in [1, 255, 256, 1000, 1024, 1025, 2048, 5000] {
        let buffer = runtime.buffer(size as u64).unwrap();
        let want = bytes(size, 7);
        staging.write(&stream, &buffer, &want).unwrap();
        assert_eq!(staging.read(&stream, &buffer).unwrap(), want, "{size} bytes");
    }
    // Many small ones, each into a buffer of its own, before any is waited for.
    let small: Vec<_> = (0..40).map(|_| runtime.buffer(300).unwrap()).collect();
    for (seed, buffer) in small.iter().enumerate() {
        staging.write(&stream, buffer, &bytes(300, seed as u8)).unwrap();
    }
    for (seed, buffer) in small.iter().enumerate() {
        assert_eq!(staging.read(&stream, buffer).unwrap(), bytes(300, seed as u8), "{seed}");
    }
    let error = staging.write(&stream, &small[0], &bytes(301, 0)).unwrap_err();
    assert!(matches!(error, Error::Run { .. }), "{error}");
    // Dropped with copies under way.
    staging.write(&stream, &small[0], &bytes(300, 1)).unwrap();
    drop(staging);
    drop((small, stream, runtime));
    assert_eq!(stand_in.violations(), [""; 0]);
}

#[test]
fn rows_go_where_they_belong_and_not_past_a_buffer() {
    let (stand_in, places, _folder) = stand_in(&Settings::default());
    let library = Library::open_at(Flavour::Rtx, &places).unwrap();
    let runtime = Runtime::new(&library, 0).unwrap();
    let stream = runtime.stream().unwrap();
    let (from, to) = (runtime.buffer(12).unwrap(), runtime.buffer(32).unwrap());
    stream.write(&from, &bytes(12, 0)).unwrap();
    stream.write(&to, &[0xff; 32]).unwrap();
    // Three rows of four bytes, ten apart, from the second byte on.
    let place = to.slice(2, 30).unwrap();
    let rows = |buffer, pitch| Rows { buffer, pitch };
    stream.copy_rows(rows(&place, 10), rows(&from, 4), 4, 3).unwrap();
    let mut want = vec![0xff; 32];
    for row in 0..3 {
        want[2 + 10 * row..6 + 10 * row].copy_from_slice(&bytes(12, 0)[4 * row..4 * row + 4]);
    }
    let mut got = vec![0; 32];
    stream.read(&mut got, &to).unwrap();
    assert_eq!(got, want);
    for (pitch, row_bytes, count) in [(10, 4, 4), (3, 4, 3), (u64::MAX, 4, 3), (4, 13, 1)] {
        let copied = stream.copy_rows(rows(&place, pitch), rows(&from, 4), row_bytes, count);
        assert!(matches!(copied, Err(Error::Run { .. })), "{pitch} {row_bytes} {count}");
    }
    stream.copy_rows(rows(&place, 0), rows(&from, 0), 0, 3).unwrap();
    drop((from, to, place, stream, runtime));
    assert_eq!(stand_in.violations(), [""; 0]);
}
