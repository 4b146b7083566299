//! The sampler against a plain implementation of the same definition, and its distribution.

use proptest::prelude::*;

use super::*;

/// The probabilities that are drawn from, by sorting everything and following the order of
/// `super`'s documentation literally.
fn reference(scores: &[f32], options: &SamplingOptions) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scaled: Vec<f32> = scores.iter().map(|s| (s - largest) / options.temperature).collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scaled[*b].total_cmp(&scaled[*a]).then(a.cmp(b)));
    let mut weights: Vec<f64> = scaled.iter().map(|s| f64::from(s.exp())).collect();
    if options.top_k > 0 {
        for token in order.iter().skip(options.top_k) {
            weights[*token] = 0.0;
        }
    }
    let total: f64 = order.iter().map(|token| weights[*token]).sum();
    let mut before = 0.0;
    for token in &order {
        let weight = weights[*token];
        if options.top_p < 1.0 && before >= f64::from(options.top_p) * total {
            weights[*token] = 0.0;
        }
        before += weight;
    }
    for weight in &mut weights {
        if *weight < f64::from(options.min_p) {
            *weight = 0.0;
        }
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn frequencies(scores: &[f32], options: &SamplingOptions, draws: usize) -> Vec<f64> {
    let mut sampler = Sampler::new(options.clone(), scores.len()).unwrap();
    let mut counts = vec![0_usize; scores.len()];
    for _ in 0..draws {
        counts[sampler.sample(&mut scores.to_vec()).unwrap().token as usize] += 1;
    }
    counts.iter().map(|count| *count as f64 / draws as f64).collect()
}

fn options(temperature: f32, top_k: usize, top_p: f32, min_p: f32) -> SamplingOptions {
    SamplingOptions { temperature, top_k, top_p, min_p, seed: Some(7), ..Default::default() }
}

#[test]
fn draws_follow_the_reference_distribution() {
    let scores: Vec<f32> = (0..100).map(|token| ((token * 37 % 100) as f32) / 20.0).collect();
    let cases = [
        options(1.0, 0, 1.0, 0.0),
        options(0.7, 10, 1.0, 0.0),
        options(1.3, 0, 0.8, 0.0),
        options(1.0, 40, 0.5, 0.0),
        options(1.0, 0, 1.0, 0.3),
        options(1.0, 30, 0.9, 0.2),
        options(5.0, 0, 0.95, 0.0),
    ];
    const DRAWS: usize = 40_000;
    for options in cases {
        let found = frequencies(&scores, &options, DRAWS);
        for (token, (found, wanted)) in found.iter().zip(reference(&scores, &options)).enumerate() {
            // Five standard deviations of a binomial, and nothing where nothing may be drawn.
            let allowed = 5.0 * (wanted * (1.0 - wanted) / DRAWS as f64).sqrt();
            assert!(
                (found - wanted).abs() <= allowed,
                "{options:?}: token {token} has {found}, not {wanted}"
            );
        }
    }
}

#[test]
fn a_seed_makes_the_same_draws_on_every_machine() {
    let scores: Vec<f32> = (0..32).map(|token| (token % 7) as f32).collect();
    let draw = |seed| {
        let options = SamplingOptions { seed: Some(seed), ..options(1.0, 0, 1.0, 0.0) };
        let mut sampler = Sampler::new(options, scores.len()).unwrap();
        let mut next = || sampler.sample(&mut scores.clone()).unwrap().token;
        (0..8).map(|_| next()).collect::<Vec<u32>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn without_a_seed_samplers_differ() {
    let seed = || Sampler::new(SamplingOptions::default(), 4).unwrap().seed();
    assert_ne!((seed(), seed()), (seed(), seed()));
    // JSON's readers may keep numbers in double precision.
    assert!((0..64).all(|_| seed() < 1 << 53));
}

#[test]
fn logprobs_are_the_models_own_whatever_was_chosen() {
    let options = SamplingOptions {
        logit_bias: vec![(0, f32::NEG_INFINITY)],
        logprobs: Some(1),
        ..SamplingOptions::greedy()
    };
    let mut sampler = Sampler::new(options, 2).unwrap();
    let choice = sampler.sample(&mut [3.0_f32.ln(), 1.0_f32.ln()]).unwrap();
    assert_eq!(choice.token, 1);
    let probs = choice.logprobs.unwrap();
    assert!((probs.chosen.logprob.exp() - 0.25).abs() < 1e-6);
    assert_eq!(probs.top[0].token, 0);
    assert!((probs.top[0].logprob.exp() - 0.75).abs() < 1e-6);
}

#[test]
fn nothing_left_to_draw_is_an_error() {
    for temperature in [0.0, 1.0] {
        let mut sampler = Sampler::new(options(temperature, 50, 0.9, 0.1), 3).unwrap();
        let error = sampler.sample(&mut [f32::NEG_INFINITY; 3]).unwrap_err().to_string();
        assert!(error.contains("every token is ruled out"), "{error}");
    }
}

#[test]
fn penalties_and_finite_biases_rule_no_token_out() {
    let extreme = [f32::MIN, -1.0, 1.0, f32::MAX];
    let penalties = [f32::MIN_POSITIVE, f32::from_bits(1), 1.0, f32::MAX];
    for (temperature, repetition_penalty) in [0.0, 0.2]
        .into_iter()
        .zip(penalties)
        .chain([1e-40, 1.0, f32::MAX].into_iter().zip(penalties.into_iter().rev()))
    {
        for presence_penalty in extreme {
            for frequency_penalty in extreme {
                let options = SamplingOptions {
                    temperature,
                    repetition_penalty,
                    presence_penalty,
                    frequency_penalty,
                    logit_bias: vec![(0, f32::MIN), (0, f32::MIN), (1, f32::MAX), (1, f32::MAX)],
                    ..options(temperature, 0, 1.0, 0.0)
                };
                let mut sampler = Sampler::new(options, 3).unwrap();
                (0..3).for_each(|token| sampler.see(token));
                for _ in 0..5 {
                    sampler.sample(&mut [f32::MAX, f32::MAX, f32::MIN]).unwrap();
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn only_what_the_reference_allows_is_ever_drawn(
        scores in proptest::collection::vec(-3.0_f32..3.0, 1..300),
        temperature in 0.05_f32..3.0,
        top_k in 0..80_usize,
        top_p in 0.05_f32..1.0,
        min_p in 0.0_f32..0.5,
        seed: u64,
    ) {
        let options = SamplingOptions { seed: Some(seed), ..options(temperature, top_k, top_p, min_p) };
        let allowed = reference(&scores, &options);
        let mut sampler = Sampler::new(options, scores.len()).unwrap();
        for _ in 0..8 {
            let token = sampler.sample(&mut scores.clone()).unwrap().token as usize;
            prop_assert!(allowed[token] > 0.0);
        }
    }

    #[test]
    fn neutral_filters_change_nothing(
        scores in proptest::collection::vec(-3.0_f32..3.0, 1..100),
        seed: u64,
    ) {
        let draw = |top_k, top_p| {
            let options = SamplingOptions { seed: Some(seed), ..options(1.0, top_k, top_p, 0.0) };
            Sampler::new(options, scores.len()).unwrap().sample(&mut scores.clone()).unwrap()
        };
        prop_assert_eq!(draw(0, 1.0), draw(scores.len(), 1.0));
        prop_assert_eq!(draw(0, 1.0), draw(usize::MAX, 1.0));
    }

    #[test]
    fn greedy_takes_the_first_of_the_best(scores in proptest::collection::vec(-2..2_i32, 1..50)) {
        let mut scores: Vec<f32> = scores.into_iter().map(|score| score as f32).collect();
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        let first = scores.iter().position(|score| *score == largest).unwrap();
        let mut sampler = Sampler::new(SamplingOptions::greedy(), scores.len()).unwrap();
        prop_assert_eq!(sampler.sample(&mut scores).unwrap().token as usize, first);
    }
}

proptest! {
    #[test]
    fn the_best_tokens_are_enough_to_choose_the_same(
        scores in proptest::collection::vec(-20..20_i32, 1..90),
        temperature in 0..3_usize,
        top_k in 1..60_usize,
        top_p in 1..=4_usize,
        min_p in 0..2_usize,
        seed in 0..100_u64,
    ) {
        let scores: Vec<f32> = scores.into_iter().map(|score| score as f32 / 4.0).collect();
        let mut how = options(temperature as f32 / 2.0, top_k, top_p as f32 / 4.0, min_p as f32 / 8.0);
        how.seed = Some(seed);
        let mut of_all = Sampler::new(how.clone(), scores.len()).unwrap();
        let mut of_best = Sampler::new(how, scores.len()).unwrap();
        let Some(count) = of_best.candidates() else {
            prop_assert!(top_k >= scores.len());
            return Ok(());
        };
        let mut best = Vec::new();
        top::select(&scores, count, &mut best);
        best.reverse();
        for _ in 0..5 {
            let wanted = of_all.sample(&mut scores.clone()).unwrap();
            prop_assert_eq!(of_best.sample_candidates(&best).unwrap(), wanted);
        }
    }
}

#[test]
fn what_depends_on_every_logit_needs_all_of_them() {
    let candidates = |change: fn(&mut SamplingOptions)| {
        let mut options = SamplingOptions::default();
        change(&mut options);
        Sampler::new(options, 100).unwrap().candidates()
    };
    assert_eq!(candidates(|_| ()), Some(50));
    assert_eq!(candidates(|o| o.temperature = 0.0), Some(1));
    assert_eq!(candidates(|o| o.top_k = 0), None);
    assert_eq!(candidates(|o| o.top_k = 100), None);
    assert_eq!(candidates(|o| o.logprobs = Some(0)), None);
    assert_eq!(candidates(|o| o.logit_bias = vec![(1, 1.0)]), None);
    assert_eq!(candidates(|o| o.repetition_penalty = 1.1), None);
    assert_eq!(candidates(|o| o.presence_penalty = 0.1), None);
    let mut sampler = Sampler::new(SamplingOptions::greedy(), 10).unwrap();
    let ruled_out = [(f32::NEG_INFINITY, 3)];
    assert!(matches!(sampler.sample_candidates(&ruled_out), Err(Error::NoCandidate)));
}
