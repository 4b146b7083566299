//! Profiles that do not fit.

use cumo_tensorrt::{BuildOptions, Builder, Error, Profile};

use crate::{models, rtx};

/// The message of a build of `y = x + x` with a profile.
fn refusal(profile: Option<Profile>) -> Option<String> {
    let library = rtx()?;
    let mut network = Builder::new(&library).parse(&models::doubling(), None).unwrap();
    let options = match profile {
        Some(profile) => BuildOptions::new().profile(profile),
        None => BuildOptions::new(),
    };
    let error = network.build(&options).err().unwrap();
    assert!(matches!(error, Error::Profile { .. }), "{error:?}");
    Some(error.to_string())
}

#[test]
fn an_input_without_a_range_is_named() {
    let Some(message) = refusal(None) else { return };
    assert_eq!(
        message,
        "input `x` [-1, -1] has dimensions that are not fixed, and no profile gives their range"
    );
    assert_eq!(refusal(Some(Profile::new())), Some(message));
}

#[test]
fn an_input_that_does_not_exist_is_named() {
    let profile = Profile::new().fixed("x", &[1, 2]).fixed("hidden", &[1]);
    let Some(message) = refusal(Some(profile)) else { return };
    assert_eq!(message, "the network has no input `hidden`, which the profile names");
}

#[test]
fn shapes_of_another_rank_are_refused() {
    let Some(message) = refusal(Some(Profile::new().fixed("x", &[1, 2, 3]))) else { return };
    assert_eq!(message, "input `x` [-1, -1]: the profile's shapes have another rank: [1, 2, 3]");
    let profile = Profile::new().range("x", &[1, 2], &[1], &[1, 2]);
    let message = refusal(Some(profile)).unwrap();
    assert_eq!(message, "input `x`: minimum [1, 2], optimum [1] and maximum [1, 2] differ in rank");
}

#[test]
fn a_range_is_in_order() {
    let profile = Profile::new().range("x", &[1, 8], &[4, 8], &[2, 8]);
    let Some(message) = refusal(Some(profile)) else { return };
    assert_eq!(
        message,
        "input `x` [-1, -1]: dimension 0 has minimum, optimum and maximum 1, 4, 2, \
         which are not in order"
    );
    let negative = refusal(Some(Profile::new().fixed("x", &[-1, 8]))).unwrap();
    assert!(negative.contains("-1, -1, -1"), "{negative}");
}

#[test]
fn a_fixed_dimension_stays_what_it_is() {
    let Some(library) = rtx() else { return };
    let mut network = Builder::new(&library).parse(&models::mlp(), None).unwrap();
    let profile = Profile::new().range("x", &[1, 64], &[1, 64], &[1, 128]);
    let error = network.build(&BuildOptions::new().profile(profile)).err().unwrap().to_string();
    assert_eq!(error, "input `x` [-1, 64]: dimension 1 is fixed; the profile has 64, 64, 128");
}

#[test]
fn more_new_positions_than_the_cache_holds_are_refused() {
    let Some(library) = rtx() else { return };
    let model = models::decoder_layer(&models::SMALL);
    let mut network = Builder::new(&library).parse(&model, None).unwrap();
    let too_long = models::decoder_profile(&models::SMALL, models::SMALL.cache as i64 + 1);
    let error = network.build(&BuildOptions::new().profile(too_long)).err().unwrap();
    assert!(matches!(error, Error::Profile { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["the network cannot run with the profile", "`update`", "`cache`"] {
        assert!(message.contains(part), "{message}");
    }
    let as_long = models::decoder_profile(&models::SMALL, models::SMALL.cache as i64);
    network.build(&BuildOptions::new().profile(as_long)).unwrap();
}
