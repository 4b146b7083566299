//! What must hold of every model, device and question.

use cumo_bundle::MoeFacts;
use proptest::prelude::*;

use super::{on, request};
use crate::testing::mistral_7b_facts;
use crate::*;

/// Models of all kinds, small and large.
fn models() -> impl Strategy<Value = cumo_bundle::ModelFacts> {
    let moe = || {
        proptest::option::of(
            (1_usize..9)
                .prop_map(|n| MoeFacts { num_experts: n, num_experts_per_tok: n.div_ceil(2) }),
        )
    };
    let llm = (1_usize..64, 1_usize..40, 1_usize..5, 1_usize..64, moe());
    let window = proptest::option::of(1_usize..10_000);
    (llm, moe(), moe(), window, 1_usize..4).prop_map(|(llm, vision, connector, window, scale)| {
        let (hidden, layers, groups, head, experts) = llm;
        let mut facts = mistral_7b_facts();
        facts.llm.hidden_size = hidden * 64;
        facts.llm.num_layers = layers;
        (facts.llm.num_key_value_heads, facts.llm.num_attention_heads) = (groups, groups * 4);
        facts.llm.head_dim = head * 2;
        (facts.llm.moe, facts.llm.sliding_window) = (experts, window);
        (facts.vision.moe, facts.vision.connector_moe) = (vision, connector);
        facts.vision.scales = (1..=scale).collect();
        facts
    })
}

proptest! {
    #[test]
    fn more_of_anything_never_needs_less(
        facts in models(),
        context in 5000_u64..16_000,
        more in 0_u64..16_000,
        images in 0_u64..4,
        text in 1_u64..512,
    ) {
        let plan_of = |request: Request| on("agx-orin-64gb", &facts, &request);
        let base = Request {
            context: Some(context),
            images,
            prompt_tokens: Some(text),
            ..Request::default()
        };
        let plan = plan_of(base.clone());
        let others = [
            plan_of(Request { context: Some(context + more), ..base.clone() }),
            plan_of(Request { images: images + 1, ..base.clone() }),
            plan_of(Request { prompt_tokens: Some(text + 7), ..base.clone() }),
        ];
        for other in &others {
            for (one, two) in plan.precisions.iter().zip(&other.precisions) {
                prop_assert!(two.total_bytes >= one.total_bytes);
                prop_assert!(two.cache_bytes >= one.cache_bytes);
                prop_assert_eq!(two.weights_bytes, one.weights_bytes);
                prop_assert!(one.fits.unwrap() || !two.fits.unwrap());
                let (one, two) = (one.bounds.as_ref().unwrap(), two.bounds.as_ref().unwrap());
                prop_assert!(two.first_token_milliseconds >= one.first_token_milliseconds);
                let rate = |bounds: &Bounds| bounds.decode.last().unwrap().tokens_per_second;
                prop_assert!(rate(two) <= rate(one));
            }
        }
    }

    #[test]
    fn what_is_best_fits_and_nothing_is_not_a_number(facts in models(), gb in 0.6_f64..64.0) {
        let custom = CustomDevice {
            memory_gb: gb,
            bandwidth_gbs: 50.0,
            f16_tflops: 5.0,
            watts: Some(15.0),
        };
        let device = Device::custom(custom).unwrap();
        let plan = plan(&Subject::of_model(&facts).unwrap(), &device, &request()).unwrap();
        let text = plan.to_string();
        prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
        let Some(best) = &plan.best else {
            prop_assert!(plan.precisions.iter().all(|row| row.largest_context.is_none()));
            return Ok(());
        };
        let row = plan.precisions.iter().find(|row| row.precision == best.precision).unwrap();
        prop_assert_eq!(row.largest_context, Some(best.context));
        prop_assert_eq!(row.fits, Some(best.fits_request));
        prop_assert_eq!(best.fits_request, best.context >= plan.request.context);
        // Nothing with more bits has room for the question.
        let bits = |row: &PrecisionPlan| row.precision.dtype.stored().size();
        let larger = plan.precisions.iter().filter(|other| bits(other) > bits(row));
        prop_assert!(larger.into_iter().all(|other| other.fits == Some(false)));
    }
}
