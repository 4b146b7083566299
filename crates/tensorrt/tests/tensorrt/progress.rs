//! Progress, and builds that are cancelled.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cumo_tensorrt::{BuildOptions, Builder, Error, Network, Profile, Progress};

use crate::{models, rtx};

fn network() -> Option<Network> {
    Some(Builder::new(&rtx()?).parse(&models::mlp(), None).unwrap())
}

fn options() -> BuildOptions {
    BuildOptions::new().profile(Profile::new().fixed("x", &[8, 64]))
}

#[test]
fn phases_nest_and_all_finish() {
    let Some(mut network) = network() else { return };
    let mut open = Vec::new();
    let mut steps = 0;
    let built = network.build_reporting(&options(), &mut |progress| {
        match progress {
            Progress::Start { phase, parent, .. } => {
                assert!(parent.is_empty() || open.iter().any(|name| name == parent), "{parent}");
                open.push(phase.to_owned());
            }
            Progress::Step { phase, .. } => {
                assert!(open.iter().any(|name| name == phase), "{phase}");
                steps += 1;
            }
            Progress::Finish { phase } => open.retain(|name| name != phase),
        }
        ControlFlow::Continue(())
    });
    built.unwrap();
    assert!(steps > 10, "{steps} steps");
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_cancelled_build_gives_no_engine_and_can_be_repeated() {
    let Some(mut network) = network() else { return };
    for after in [1, 5, 20] {
        let mut calls = 0;
        let error = network.build_reporting(&options(), &mut |_| {
            calls += 1;
            if calls >= after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let error = error.err().unwrap();
        assert!(matches!(error, Error::Cancelled), "{error:?}");
        assert_eq!(error.to_string(), "the build was cancelled");
    }
    network.build(&options()).unwrap();
}

#[test]
fn a_panic_of_the_callback_cancels_and_goes_on() {
    let Some(mut network) = network() else { return };
    let result = catch_unwind(AssertUnwindSafe(|| {
        network.build_reporting(&options(), &mut |_| panic!("in the callback"))
    }));
    let cause = result.err().unwrap();
    assert_eq!(cause.downcast_ref::<&str>(), Some(&"in the callback"));
    network.build(&options()).unwrap();
}
